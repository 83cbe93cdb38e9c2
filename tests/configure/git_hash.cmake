# The commit in git_hash.h: that of a repository whose top is the source folder, and "unknown" in every other place.
#   cmake -DSOURCE=... -DBINARY=... -P git_hash.cmake
# expect(FOLDER HASH): what the build would write for sources in FOLDER.
function(expect folder hash)
  execute_process(COMMAND ${CMAKE_COMMAND} -DSOURCE=${folder} -DOUT=${BINARY}/git_hash.h -P ${SOURCE}/cmake/git_hash.cmake COMMAND_ERROR_IS_FATAL ANY)
  file(READ ${BINARY}/git_hash.h text)
  if(NOT text STREQUAL "#define PANVAE_GIT_HASH \"${hash}\"\n")
    message(FATAL_ERROR "for sources in ${folder}, not ${hash}, but:\n${text}")
  endif()
endfunction()

find_program(GIT git)
if(NOT GIT)
  expect(${SOURCE} unknown)
  return()
endif()
set(repository "${BINARY}/a repository")
file(REMOVE_RECURSE ${BINARY})
file(MAKE_DIRECTORY "${repository}/archive")
execute_process(COMMAND ${GIT} -C ${repository} init -q COMMAND_ERROR_IS_FATAL ANY)
expect(${repository} unknown)  # no commit yet
execute_process(COMMAND ${GIT} -C ${repository} -c user.name=a -c user.email=a@b -c commit.gpgsign=false commit -q --allow-empty -m "One"
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${GIT} -C ${repository} rev-parse --short=10 HEAD
  OUTPUT_VARIABLE hash OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
expect(${repository} ${hash})
expect(${repository}/archive unknown)
