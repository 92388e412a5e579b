# What `cmake --install` puts where: the program with its manual pages and completions, the library
# (static and shared) with headers, a pkg-config file and a CMake package.
include(CMakePackageConfigHelpers)

set(KEYHOLE_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/keyhole)

# Manual pages and completions grow from the program's own option tables.
if(TARGET keyhole AND NOT CMAKE_CROSSCOMPILING)
  set(share ${CMAKE_BINARY_DIR}/share)
  add_custom_command(OUTPUT ${share}/made
    COMMAND ${CMAKE_SOURCE_DIR}/tools/make_share.sh $<TARGET_FILE:keyhole> ${share}
    DEPENDS keyhole ${CMAKE_SOURCE_DIR}/tools/make_share.sh
    COMMENT "Manual pages and completions" VERBATIM)
  add_custom_target(keyhole_share ALL DEPENDS ${share}/made)
  install(DIRECTORY ${share}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR})
  install(FILES ${share}/completion/keyhole.bash RENAME keyhole
          DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
  install(FILES ${share}/completion/_keyhole
          DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
  install(FILES ${share}/completion/keyhole.fish
          DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()
# The model `demo`: installed, and found from build folders outside of the tree.
if(EXISTS ${CMAKE_SOURCE_DIR}/demo)
  install(DIRECTORY ${CMAKE_SOURCE_DIR}/demo/ DESTINATION ${CMAKE_INSTALL_DATADIR}/keyhole/demo
          FILES_MATCHING PATTERN "*.json" PATTERN "*.safetensors")
  if(NOT EXISTS ${CMAKE_BINARY_DIR}/demo)
    file(CREATE_LINK ${CMAKE_SOURCE_DIR}/demo ${CMAKE_BINARY_DIR}/demo SYMBOLIC)
  endif()
endif()

if(TARGET keyhole)
  install(TARGETS keyhole RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
if(TARGET keyhole_mpi) # where the program looks for it
  install(TARGETS keyhole_mpi LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/keyhole)
endif()

set_target_properties(keyhole_shared PROPERTIES EXPORT_NAME keyhole)
set_target_properties(keyhole_static PROPERTIES EXPORT_NAME static)
install(TARGETS keyhole_shared EXPORT keyholeTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS keyhole_static EXPORT keyholeStaticTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT keyholeTargets NAMESPACE keyhole:: DESTINATION ${KEYHOLE_CMAKE_DIR})
install(EXPORT keyholeStaticTargets NAMESPACE keyhole:: DESTINATION ${KEYHOLE_CMAKE_DIR})

install(FILES include/keyhole.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY include/keyhole DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

configure_file(cmake/keyhole.pc.in ${CMAKE_BINARY_DIR}/keyhole.pc.tmp @ONLY)
# The prefix is only known when installing (cmake --install --prefix).
install(CODE "
  file(READ \"${CMAKE_BINARY_DIR}/keyhole.pc.tmp\" text)
  string(REPLACE \"%PREFIX%\" \"\${CMAKE_INSTALL_PREFIX}\" text \"\${text}\")
  file(WRITE \"${CMAKE_BINARY_DIR}/keyhole.pc\" \"\${text}\")")
install(FILES ${CMAKE_BINARY_DIR}/keyhole.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

configure_package_config_file(cmake/keyholeConfig.cmake.in ${CMAKE_BINARY_DIR}/keyholeConfig.cmake
                              INSTALL_DESTINATION ${KEYHOLE_CMAKE_DIR})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/keyholeConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/keyholeConfig.cmake ${CMAKE_BINARY_DIR}/keyholeConfigVersion.cmake
        DESTINATION ${KEYHOLE_CMAKE_DIR})
