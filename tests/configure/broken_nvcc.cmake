# An nvcc that does not work: AUTO warns and goes on without CUDA, ON is an error that names it.
#   cmake -DSOURCE=... -DBINARY=... -DSETTINGS=... -DGENERATOR=... -P broken_nvcc.cmake
# SETTINGS: where the libraries were found for the build that this test belongs to.
file(WRITE ${BINARY}/nvcc "#!/bin/sh\necho 'the toolkit is gone' >&2\nexit 127\n")
file(CHMOD ${BINARY}/nvcc PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
foreach(mode AUTO ON)
  execute_process(COMMAND ${CMAKE_COMMAND} -G ${GENERATOR} -C ${SETTINGS} -S ${SOURCE} -B ${BINARY}/${mode} -DPANVAE_CUDA=${mode} -DPANVAE_NVCC=${BINARY}/nvcc
      -DPANVAE_OMICS=OFF -DPANVAE_TESTS=OFF -DPANVAE_BENCH=OFF
    RESULT_VARIABLE status_${mode} OUTPUT_VARIABLE said_${mode} ERROR_VARIABLE said_${mode})
  string(REGEX REPLACE "[ \n]+" " " said_${mode} "${said_${mode}}")  # CMake breaks lines by the length of paths
  if(NOT said_${mode} MATCHES "nvcc does not work" OR NOT said_${mode} MATCHES "the toolkit is gone")
    message(FATAL_ERROR "PANVAE_CUDA=${mode} does not say which nvcc fails and how:\n${said_${mode}}")
  endif()
endforeach()
if(NOT status_AUTO STREQUAL "0" OR NOT said_AUTO MATCHES "CUDA kernels OFF")
  message(FATAL_ERROR "PANVAE_CUDA=AUTO does not go on without CUDA:\n${said_AUTO}")
endif()
if(status_ON STREQUAL "0")
  message(FATAL_ERROR "PANVAE_CUDA=ON accepts an nvcc that does not work:\n${said_ON}")
endif()
