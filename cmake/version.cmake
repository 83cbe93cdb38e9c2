# panvae_version: PANVAE_VERSION, and the header git_hash.h for programs that name their commit. The hash changes without any
# source changing, so the header is made at build time and touched only when it differs.
add_custom_target(panvae_git_hash
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DOUT=${PROJECT_BINARY_DIR}/version/git_hash.h -P ${PROJECT_SOURCE_DIR}/cmake/git_hash.cmake
  BYPRODUCTS ${PROJECT_BINARY_DIR}/version/git_hash.h)
add_library(panvae_version INTERFACE)
add_dependencies(panvae_version panvae_git_hash)
target_include_directories(panvae_version INTERFACE ${PROJECT_BINARY_DIR}/version)
target_compile_definitions(panvae_version INTERFACE PANVAE_VERSION="${PROJECT_VERSION}")
