# Sources from an archive may lie within another project's repository, whose commit says nothing of them.
execute_process(COMMAND git -C ${SOURCE} rev-parse --show-prefix
  RESULT_VARIABLE status OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
set(hash "")
if(status STREQUAL "0" AND folder STREQUAL "")
  execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=10 --exclude=*
    OUTPUT_VARIABLE hash OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT hash)
  set(hash "unknown")
endif()
set(text "#define PANVAE_GIT_HASH \"${hash}\"\n")
set(old "")
if(EXISTS ${OUT})
  file(READ ${OUT} old)
endif()
if(NOT old STREQUAL text)
  file(WRITE ${OUT} "${text}")
endif()
