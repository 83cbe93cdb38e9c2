# A package that is not there: the message names it and what to install, for packages of the core and of its other rooms.
#   cmake -DSOURCE=... -DBINARY=... -DSETTINGS=... -DGENERATOR=... -P missing_package.cmake
foreach(pair fmt:libfmt-dev HDF5:libhdf5-dev xgboost/c_api.h:libxgboost-dev)
  string(REPLACE ":" ";" pair ${pair})
  list(GET pair 0 what)
  list(GET pair 1 package)
  file(REMOVE_RECURSE ${BINARY}/${package})
  if(what MATCHES "[.]h$")
    set(hide -DPANVAE_XGBOOST_INCLUDE=)
  else()
    set(hide -DCMAKE_DISABLE_FIND_PACKAGE_${what}=ON)
  endif()
  execute_process(COMMAND ${CMAKE_COMMAND} -G ${GENERATOR} -C ${SETTINGS} -S ${SOURCE} -B ${BINARY}/${package} ${hide}
      -DPANVAE_CUDA=OFF -DPANVAE_TESTS=OFF -DPANVAE_BENCH=OFF
    RESULT_VARIABLE status OUTPUT_VARIABLE said ERROR_VARIABLE said)
  string(REGEX REPLACE "[ \n]+" " " said "${said}")  # CMake breaks lines by the length of words
  if(status STREQUAL "0" OR NOT said MATCHES "panvae needs ${what}, .* as ${package},")
    message(FATAL_ERROR "without ${what}, the configure step ends with '${status}' and does not name ${package}:\n${said}")
  endif()
endforeach()
