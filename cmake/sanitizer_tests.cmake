# The small shapes under both sanitizers as tests of this build: asan.cases.leaky_relu.simt_forward, tsan.simt.correct.row_sums.
# Two builds of the core below this one (the presets asan and tsan in other folders), made when everything else is there.
include(GoogleTest)

function(panvae_targets_below folder result)
  get_property(all DIRECTORY ${folder} PROPERTY BUILDSYSTEM_TARGETS)
  get_property(folders DIRECTORY ${folder} PROPERTY SUBDIRECTORIES)
  foreach(sub ${folders})
    panvae_targets_below(${sub} below)
    list(APPEND all ${below})
  endforeach()
  set(${result} ${all} PARENT_SCOPE)
endfunction()

# panvae_sanitizer_tests(PRESET ROOM [FILTER] ...): builds test_ROOM, and makes known those of its tests that the filter lets pass.
function(panvae_sanitizer_tests preset)
  set(folder ${CMAKE_BINARY_DIR}/${preset})
  cmake_parse_arguments(PARSE_ARGV 1 filter_of "" "base;simt;cases" "")
  set(rooms)
  foreach(room base simt cases)
    if(DEFINED filter_of_${room})
      list(APPEND rooms ${room})
    endif()
  endforeach()
  list(TRANSFORM rooms PREPEND test_ OUTPUT_VARIABLE targets)
  panvae_targets_below(${PROJECT_SOURCE_DIR} before)  # one after the other, not all compilers at a time
  add_custom_target(${preset} ALL
    COMMAND ${CMAKE_COMMAND} --preset ${preset} -B ${folder} -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER} -DPANVAE_OMICS=OFF
    COMMAND ${CMAKE_COMMAND} --build ${folder} --target ${targets}
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    COMMENT "The small shapes under the preset ${preset}, in ${folder}"
    USES_TERMINAL VERBATIM)
  add_dependencies(${preset} ${before})
  set(threads 1)
  foreach(room ${rooms})
    set(test ${preset}_test_${room})
    add_executable(${test} IMPORTED)
    set_target_properties(${test} PROPERTIES IMPORTED_LOCATION ${folder}/test_${room})
    if(preset STREQUAL "tsan")
      set_target_properties(${test} PROPERTIES CROSSCOMPILING_EMULATOR ${PROJECT_SOURCE_DIR}/cmake/run_tsan.sh)
      set(threads 2)  # there is no race of one
    endif()
    gtest_discover_tests(${test} TEST_PREFIX ${preset}.${room}. DISCOVERY_MODE PRE_TEST TEST_FILTER "${filter_of_${room}}"
      PROPERTIES TIMEOUT 600 ENVIRONMENT OMP_NUM_THREADS=${threads})
  endforeach()
endfunction()

# Orders of threads are compared by the builds without sanitizers; an address is bad in forward order, with pointers shifted in
# every way, or in a random one with two blocks at a time.
panvae_sanitizer_tests(asan simt "*" cases "-*.simt_reverse")
# A race is one in every order of threads. ref: the loops of the CPU, which are the same in every mode of math.
panvae_sanitizer_tests(tsan base "threads_of_loops.*" simt "*" cases "*.simt_random:*.graph:*.ref-*_tf32.ref:*_bf16.ref")
