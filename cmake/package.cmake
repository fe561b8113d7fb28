# The Debian package, which contrib/packaging/build-deb.sh makes.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME pgcoffer)
set(CPACK_PACKAGE_VERSION ${PGCOFFER_VERSION})
set(CPACK_PACKAGE_VENDOR "the pgcoffer authors")
set(CPACK_PACKAGE_CONTACT "the pgcoffer authors <pgcoffer@example.org>")
# Everything goes below a root of its own, also what lies in /etc: nothing is asked of the machine that builds.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# useradd, where there is no systemd-sysusers.
set(CPACK_DEBIAN_PACKAGE_DEPENDS passwd)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates, openssl, zstd")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "bash-completion, logrotate, postgresql, prometheus")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "TLS-aware backup agent for PostgreSQL")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "A daemon streams the WAL of PostgreSQL 13 to 18 and takes base backups, as a
replication user known by its client certificate, and keeps both as compressed
archives that tar and zstd alone can restore. The command line restores to any
moment, verifies, rehearses a recovery, and proves that a TLS set-up is right.

Daemon and command line are in this one package. The daemon is neither enabled
nor started by the installation: a host that only restores over the network
needs none.")
# Strips the programs; their debugging information is a package of its own, found by the build id.
set(CPACK_DEBIAN_DEBUGINFO_PACKAGE ON)
set(scripts ${CMAKE_SOURCE_DIR}/contrib/packaging/debian)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${scripts}/conffiles ${scripts}/postinst ${scripts}/prerm ${scripts}/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_VERBATIM_VARIABLES ON)
include(CPack)
