# CMake's own messages name its variables and files ("Could not find PANVAE_VEGA"); these say what to install.
function(panvae_missing what package option)
  message(FATAL_ERROR "panvae needs ${what}, and it is not there. Debian and Ubuntu have it as ${package}, and tools/install_packages.sh "
                      "installs that with all others; elsewhere, README.md says what each package is. "
                      "Where CMake does not look by itself, say where it is: ${option}.")
endfunction()

# panvae_package(NAME PACKAGE ...): find_package(NAME ...), which must succeed.
macro(panvae_package name package)
  find_package(${name} ${ARGN})
  if(NOT ${name}_FOUND)
    panvae_missing(${name} ${package} -DCMAKE_PREFIX_PATH=FOLDER)
  endif()
endmacro()

# panvae_path(VARIABLE PACKAGE FILE ...): find_path(VARIABLE FILE ...), which must succeed.
macro(panvae_path variable package file)
  find_path(${variable} ${file} ${ARGN})
  if(NOT ${variable})
    panvae_missing(${file} ${package} -D${variable}=FOLDER)
  endif()
endmacro()
