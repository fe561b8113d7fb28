# Where things go, by the FHS. With the prefix /usr, CMAKE_INSTALL_FULL_SYSCONFDIR is /etc.
if(TARGET pgcoffer)
  install(TARGETS pgcoffer RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
if(TARGET pgcofferd)
  install(TARGETS pgcofferd RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})
endif()

# An administrator's file is never overwritten.
set(configuration ${CMAKE_SOURCE_DIR}/conf/pgcoffer.conf)
if(EXISTS ${configuration})
  install(CODE "
    if(NOT EXISTS \"\$ENV{DESTDIR}${CMAKE_INSTALL_FULL_SYSCONFDIR}/pgcoffer/pgcoffer.conf\")
      file(INSTALL \"${configuration}\" DESTINATION \"${CMAKE_INSTALL_FULL_SYSCONFDIR}/pgcoffer\")
    endif()")
  install(FILES ${configuration} DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME pgcoffer.conf.sample)
endif()

file(GLOB units CONFIGURE_DEPENDS conf/systemd/*.service conf/systemd/*.timer)
if(units)
  install(FILES ${units} DESTINATION lib/systemd/system)
endif()
foreach(folder sysusers tmpfiles)
  file(GLOB files CONFIGURE_DEPENDS conf/${folder}.d/*.conf conf/${folder}/*.conf)
  if(files)
    install(FILES ${files} DESTINATION lib/${folder}.d)
  endif()
endforeach()

file(GLOB documents CONFIGURE_DEPENDS README.md doc/*.md)
if(documents)
  install(FILES ${documents} DESTINATION ${CMAKE_INSTALL_DOCDIR})
endif()
file(GLOB tutorials CONFIGURE_DEPENDS doc/tutorial/*.md)
if(tutorials)
  install(FILES ${tutorials} DESTINATION ${CMAKE_INSTALL_DOCDIR}/tutorial)
endif()
install(DIRECTORY contrib/certbot DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples USE_SOURCE_PERMISSIONS)
foreach(completion_rule "bash/pgcoffer|bash-completion/completions" "zsh/_pgcoffer|zsh/site-functions")
  string(REPLACE "|" ";" completion_rule "${completion_rule}")
  list(GET completion_rule 0 file)
  list(GET completion_rule 1 place)
  if(EXISTS ${CMAKE_SOURCE_DIR}/contrib/completion/${file})
    install(FILES ${CMAKE_SOURCE_DIR}/contrib/completion/${file} DESTINATION ${CMAKE_INSTALL_DATADIR}/${place})
  endif()
endforeach()

# doc/man/NAME.SECTION.scd becomes NAME.SECTION.gz
file(GLOB manual_sources CONFIGURE_DEPENDS doc/man/*.scd)
if(manual_sources)
  find_program(SCDOC scdoc REQUIRED)
  find_program(GZIP gzip REQUIRED)
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
endif()
