include(CheckLinkerFlag)
# One set of flags for our own targets; they do not reach those who link us.
add_library(panvae_flags INTERFACE)
# Warnings are errors with the compiler of our CI; one we have not met may warn of new things, and must still build.
set(werror_default OFF)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  set(werror_default ON)
endif()
option(PANVAE_WERROR "Treat warnings as errors" ${werror_default})
set(host_warnings -Wall -Wextra -Wno-unknown-pragmas)
if(PANVAE_WERROR)
  list(APPEND host_warnings -Werror)
endif()
target_compile_options(panvae_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:${host_warnings} -Wshadow -Wno-attributes>
  $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings --expt-relaxed-constexpr -DFMT_USE_CONSTEXPR=1 -diag-suppress=161,177,1675 -Xcompiler=-Wall,-Wextra,-Wno-unknown-pragmas>)
# -ffp-contract differs between compilers by default; named here so that a build means one thing. No -ffast-math: NaN
# must stay visible. These two free the vectoriser without changing any value.
target_compile_options(panvae_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=fast -fno-math-errno -fno-trapping-math>)
if(PANVAE_NATIVE AND CMAKE_CROSSCOMPILING)
  # Cross compilers refuse the word, or take this machine's processor for the one that will run the program.
  message(STATUS "panvae: cross compiling, so not for this machine's processor; name the other in CMAKE_CXX_FLAGS (-mcpu=, -march=)")
elseif(PANVAE_NATIVE AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  target_compile_options(panvae_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-march=native>)
elseif(PANVAE_NATIVE AND CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  target_compile_options(panvae_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-mcpu=native>)  # there -march= says nothing of its timings
endif()
set(PANVAE_WATCH_FLAGS "")  # for sources with kernels in them: kernels/simt_watch.cpp
if(PANVAE_SANITIZE STREQUAL "address")
  set(sanitizers -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set(PANVAE_WATCH_FLAGS --param=asan-instrumentation-with-call-threshold=0)
  else()
    set(PANVAE_WATCH_FLAGS "SHELL:-mllvm -asan-instrumentation-with-call-threshold=0")
  endif()
elseif(PANVAE_SANITIZE STREQUAL "thread")
  set(sanitizers -fsanitize=thread -fno-omit-frame-pointer)
elseif(PANVAE_SANITIZE)
  message(FATAL_ERROR "PANVAE_SANITIZE is 'address' or 'thread', not '${PANVAE_SANITIZE}'")
endif()
if(PANVAE_SANITIZE)
  # Reports need lines and no more of debug information; more optimisation costs time to compile and merges accesses.
  target_compile_options(panvae_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${sanitizers} -O1 -g1>)
  target_link_options(panvae_flags INTERFACE ${sanitizers})
endif()
find_program(PANVAE_MOLD mold)
if(PANVAE_MOLD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 12.1)
  check_linker_flag(CXX -fuse-ld=mold PANVAE_LINKS_BY_MOLD)  # cross compilers look for linkers in places of their own
  if(PANVAE_LINKS_BY_MOLD)
    target_link_options(panvae_flags INTERFACE -fuse-ld=mold)
  endif()
endif()

# panvae_room(NAME LIBRARIES...): a library of one room from its own sources.
function(panvae_room name)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.h ${CMAKE_CURRENT_SOURCE_DIR}/*/*.h)
  add_library(panvae_${name} STATIC ${sources} ${headers})
  add_library(panvae::${name} ALIAS panvae_${name})
  set_target_properties(panvae_${name} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(panvae_${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:include/panvae>)
  target_compile_features(panvae_${name} PUBLIC cxx_std_20)
  target_link_libraries(panvae_${name} PUBLIC ${ARGN} PRIVATE $<BUILD_INTERFACE:panvae_flags>)
endfunction()
