# Where things go, by the FHS. With the prefix /usr, CMAKE_INSTALL_FULL_SYSCONFDIR is /etc.
# Our own folders come first: those that the files make have a mode by root's umask, and the daemon must come to its configuration.
# What an administrator has made of them there stays.
foreach(folder "" /conf.d)
  set(place ${CMAKE_INSTALL_FULL_SYSCONFDIR}/pgcoffer${folder})
  install(CODE "
    if(NOT EXISTS \"\$ENV{DESTDIR}${place}\")
      file(INSTALL DESTINATION \"${place}\" TYPE DIRECTORY FILES \"\")
    endif()")
endforeach()
foreach(folder "" /tutorial /images /examples)
  install(DIRECTORY DESTINATION ${CMAKE_INSTALL_DOCDIR}${folder})
endforeach()
foreach(folder "" /prometheus /grafana)
  install(DIRECTORY DESTINATION ${CMAKE_INSTALL_DATADIR}/pgcoffer${folder})
endforeach()
if(TARGET pgcoffer)
  install(TARGETS pgcoffer RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
if(TARGET pgcofferd)
  install(TARGETS pgcofferd RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})
endif()
set(packaging ${CMAKE_SOURCE_DIR}/contrib/packaging)
install(PROGRAMS ${packaging}/pgcoffer-add-cluster DESTINATION ${CMAKE_INSTALL_SBINDIR})

# An administrator's file is never overwritten.
function(install_configuration source folder name)
  set(place ${CMAKE_INSTALL_FULL_SYSCONFDIR}/${folder})
  install(CODE "
    if(NOT EXISTS \"\$ENV{DESTDIR}${place}/${name}\")
      file(INSTALL \"${source}\" DESTINATION \"${place}\" RENAME \"${name}\")
    endif()")
endfunction()
install_configuration(${CMAKE_SOURCE_DIR}/conf/pgcoffer.conf pgcoffer pgcoffer.conf)
install_configuration(${packaging}/pgcoffer.logrotate logrotate.d pgcoffer)
install(FILES ${CMAKE_SOURCE_DIR}/conf/pgcoffer.conf DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME pgcoffer.conf.sample)

file(GLOB units CONFIGURE_DEPENDS conf/systemd/*.service conf/systemd/*.timer)
install(FILES ${units} DESTINATION lib/systemd/system)
foreach(folder sysusers tmpfiles)
  file(GLOB files CONFIGURE_DEPENDS conf/${folder}.d/*.conf)
  install(FILES ${files} DESTINATION lib/${folder}.d)
endforeach()

file(GLOB documents CONFIGURE_DEPENDS README.md doc/*.md)
install(FILES ${documents} DESTINATION ${CMAKE_INSTALL_DOCDIR})
file(GLOB tutorials CONFIGURE_DEPENDS doc/tutorial/*.md)
install(FILES ${tutorials} DESTINATION ${CMAKE_INSTALL_DOCDIR}/tutorial)
file(GLOB images CONFIGURE_DEPENDS doc/images/*.png)
if(images)
  install(FILES ${images} DESTINATION ${CMAKE_INSTALL_DOCDIR}/images)
endif()
install(FILES ${packaging}/debian/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR})

# What other programs read as it is, and what is there to be copied and changed.
foreach(folder prometheus grafana)
  file(GLOB files CONFIGURE_DEPENDS contrib/${folder}/*.yml contrib/${folder}/*.json contrib/${folder}/*.md)
  if(files)
    install(FILES ${files} DESTINATION ${CMAKE_INSTALL_DATADIR}/pgcoffer/${folder})
  endif()
endforeach()
foreach(folder certbot nagios systemd)
  if(EXISTS ${CMAKE_SOURCE_DIR}/contrib/${folder})
    # The modes of a checkout hang on somebody's umask.
    install(DIRECTORY contrib/${folder} DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples
            FILE_PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ
            DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE
            PATTERN "*.sh" PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
  endif()
endforeach()
install(FILES contrib/completion/pgcoffer.bash
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME pgcoffer)
install(FILES contrib/completion/_pgcoffer DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)

# doc/man/NAME.SECTION.scd becomes NAME.SECTION.gz
find_program(SCDOC scdoc REQUIRED)
find_program(GZIP gzip REQUIRED)
file(GLOB manual_sources CONFIGURE_DEPENDS doc/man/*.scd)
set(manual_pages)
foreach(source IN LISTS manual_sources)
  cmake_path(GET source FILENAME name)
  string(REGEX REPLACE "\\.scd$" "" name ${name})
  string(REGEX REPLACE ".*\\." "" section ${name})
  set(page ${CMAKE_BINARY_DIR}/man/${name}.gz)
  add_custom_command(
    OUTPUT ${page} DEPENDS ${source}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/man
    COMMAND sh -ec "${SCDOC} <${source} >${CMAKE_BINARY_DIR}/man/${name}" COMMAND ${GZIP} -9nf
            ${CMAKE_BINARY_DIR}/man/${name}
    VERBATIM)
  list(APPEND manual_pages ${page})
  install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()
add_custom_target(man ALL DEPENDS ${manual_pages})

# The newest entry is for what is built: one is put before the others when that is another version.
set(changelog ${CMAKE_BINARY_DIR}/doc/changelog)
file(READ ${packaging}/debian/changelog entries)
string(REGEX MATCH "^pgcoffer \\(([^)]*)\\)" newest "${entries}")
if(NOT CMAKE_MATCH_1 STREQUAL PGCOFFER_VERSION)
  string(REGEX MATCH "\n -- [^\n]*" signed "${entries}")
  set(entries "pgcoffer (${PGCOFFER_VERSION}) unstable; urgency=medium\n\n  * Built from the sources.\n${signed}\n\n${entries}")
endif()
file(WRITE ${changelog} "${entries}")
add_custom_command(OUTPUT ${changelog}.gz DEPENDS ${changelog} COMMAND sh -ec "${GZIP} -9nc ${changelog} >${changelog}.gz" VERBATIM)
add_custom_target(changelog ALL DEPENDS ${changelog}.gz)
install(FILES ${changelog}.gz DESTINATION ${CMAKE_INSTALL_DOCDIR})
