# kh_room(NAME SOURCES... [LINK libs...]): one room of src/, compiled once for the static and the
# shared library.
function(kh_room name)
  cmake_parse_arguments(ROOM "" "" "LINK" ${ARGN})
  add_library(kh_${name} OBJECT ${ROOM_UNPARSED_ARGUMENTS})
  target_include_directories(kh_${name} PUBLIC ${CMAKE_SOURCE_DIR}/include
                                               ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(kh_${name} PRIVATE keyhole_flags PUBLIC Threads::Threads m ${ROOM_LINK})
endfunction()

# kh_test(NAME LABEL SOURCES...): a cmocka program linked against the whole static library.
function(kh_test name label)
  add_executable(${name} ${ARGN})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(${name} PRIVATE keyhole_flags keyhole_static kh_test_support
                                        PkgConfig::CMOCKA)
  target_compile_definitions(${name} PRIVATE
    KH_TEST_DATA="${CMAKE_SOURCE_DIR}/tests/data" KH_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
  set_tests_properties(${name} PROPERTIES LABELS ${label})
endfunction()
