# Installed headers name each other by relative paths, so that a folder base/ or engine/ of the program that includes them is not looked
# into. FOLDER has the headers, in folders for ROOMS.
string(REPLACE ";" "|" rooms "${ROOMS}")
foreach(room ${ROOMS})
  file(GLOB_RECURSE headers RELATIVE ${FOLDER} ${FOLDER}/${room}/*.h)
  foreach(header ${headers})
    string(REGEX REPLACE "[^/]+/" "../" up ${header})
    string(REGEX REPLACE "[^/]+$" "" up ${up})
    file(READ ${FOLDER}/${header} text)
    string(REGEX REPLACE "(#include \")(${rooms})/" "\\1${up}\\2/" text "${text}")
    file(WRITE ${FOLDER}/${header} "${text}")
  endforeach()
endforeach()
