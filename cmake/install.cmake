# Installs the headers and the package: find_package(eosin), find_package(eosin COMPONENTS io onednn cblas cuda).

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(eosin_package_dir "${CMAKE_INSTALL_DATADIR}/cmake/eosin")

install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/eosin" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
        FILES_MATCHING PATTERN "*.hpp" PATTERN "*.cuh")
install(TARGETS eosin EXPORT eosin-targets)
install(EXPORT eosin-targets NAMESPACE eosin:: DESTINATION "${eosin_package_dir}")

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/eosin-config.cmake.in"
                              "${PROJECT_BINARY_DIR}/eosin-config.cmake" INSTALL_DESTINATION "${eosin_package_dir}")
# Headers only: any processor word size will do.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/eosin-config-version.cmake" COMPATIBILITY SameMinorVersion
                                 ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/eosin-config.cmake" "${PROJECT_BINARY_DIR}/eosin-config-version.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/eosin-components.cmake" DESTINATION "${eosin_package_dir}")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DATADIR}/licenses/eosin")
