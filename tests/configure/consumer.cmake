# What `cmake --install` leaves is enough for a project that asks for C++ alone, compiled for any processor: it is configured, built and run.
#   cmake -DSOURCE=... -DBUILD=... -DBINARY=... -DSETTINGS=... -DGENERATOR=... -P consumer.cmake
file(REMOVE_RECURSE "${BINARY}")
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${BINARY}/prefix OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} -G ${GENERATOR} -C ${SETTINGS} -S ${SOURCE}/tests/configure/consumer -B ${BINARY}/build
    -Dpanvae_ROOT=${BINARY}/prefix -DEXAMPLES=${SOURCE}/examples
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${BINARY}/build COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${BINARY}/build/ten_lines COMMAND_ERROR_IS_FATAL ANY)
if(EXISTS ${BINARY}/build/components)
  # Centred, the three rows are (-1, -2), (0, 0) and (1, 2): all lies on one axis, with the sum of squares 10.
  file(WRITE ${BINARY}/matrix.tsv "sample\ta\tb\ns1\t0\t0\ns2\t1\t2\ns3\t2\t4\n")
  execute_process(COMMAND ${BINARY}/build/components ${BINARY}/matrix.tsv OUTPUT_VARIABLE said COMMAND_ERROR_IS_FATAL ANY)
  if(NOT said STREQUAL "3.162\n")
    message(FATAL_ERROR "the singular value is 3.162, not ${said}")
  endif()
endif()
