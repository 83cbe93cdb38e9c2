# A cross compiler knows no processor "native" and looks for linkers in places of its own: neither that word nor mold is asked of it.
#   cmake -DSOURCE=... -DBINARY=... -DSETTINGS=... -DGENERATOR=... -DCOMPILER=... -DPROCESSOR=... -P cross.cmake
# COMPILER: the one of the build that this test belongs to, here behind a script that refuses both. SETTINGS as in broken_nvcc.cmake.
file(REMOVE_RECURSE ${BINARY}/build)
file(WRITE ${BINARY}/compiler "#!/bin/sh\nfor word; do\n  case $word in\n    *=native) echo \"unknown value 'native'\" >&2; exit 1 ;;\n"
                              "    -fuse-ld=mold) echo \"cannot find 'ld'\" >&2; exit 1 ;;\n  esac\ndone\nexec '${COMPILER}' \"$@\"\n")
file(CHMOD ${BINARY}/compiler PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
foreach(processor ${PROCESSOR} aarch64)
  execute_process(COMMAND ${CMAKE_COMMAND} -G ${GENERATOR} -C ${SETTINGS} -S ${SOURCE} -B ${BINARY}/build/${processor} -DCMAKE_SYSTEM_NAME=Linux
      -DCMAKE_SYSTEM_PROCESSOR=${processor} -DCMAKE_CXX_COMPILER=${BINARY}/compiler -DPANVAE_CUDA=OFF -DPANVAE_OMICS=OFF -DPANVAE_TESTS=OFF -DPANVAE_BENCH=ON
    RESULT_VARIABLE status OUTPUT_VARIABLE said ERROR_VARIABLE said)
  if(NOT status STREQUAL "0")
    message(FATAL_ERROR "${processor}: a cross compiler cannot be configured:\n${said}")
  endif()
  if(NOT said MATCHES "cross compiling")
    message(FATAL_ERROR "${processor}: nobody is told that the processor is to be named:\n${said}")
  endif()
  file(GLOB_RECURSE written ${BINARY}/build/${processor}/build.ninja ${BINARY}/build/${processor}/flags.make ${BINARY}/build/${processor}/link.txt)
  set(links 0)
  foreach(file ${written})
    file(STRINGS ${file} refused REGEX "=native|-fuse-ld=mold")
    if(refused)
      message(FATAL_ERROR "${processor}: ${file} asks of the compiler what it refuses:\n${refused}")
    endif()
    file(STRINGS ${file} linked REGEX "panvae_bench")
    list(LENGTH linked lines)
    math(EXPR links "${links} + ${lines}")
  endforeach()
  if(links EQUAL 0)
    message(FATAL_ERROR "${processor}: no file of the build names a program, so nothing was looked at")
  endif()
endforeach()
