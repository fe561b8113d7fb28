# Everything ctest runs. Labels: short is what .ci/run runs, long the full counts.
include(CTest)
if(NOT BUILD_TESTING)
  return()
endif()

# test/run.sh runs several trees under one ctest: a sanitized tree's tests say so in their names.
set(test_prefix "")
if(SANITIZE)
  set(test_prefix "sanitized_")
endif()

# What a unit test compares the answer to a scrape with is itself what Prometheus' own tool calls good.
find_program(PROMTOOL promtool)
if(PROMTOOL AND NOT SANITIZE AND NOT FUZZ)
  add_test(NAME metrics_promtool
           COMMAND sh -c "exec ${PROMTOOL} check metrics < ${CMAKE_SOURCE_DIR}/test/jobs/metrics/state.prom")
  set_tests_properties(metrics_promtool PROPERTIES LABELS "short")
endif()
if(NOT SANITIZE AND NOT FUZZ)
  add_test(NAME layers COMMAND ${CMAKE_SOURCE_DIR}/contrib/dev/check_layers.py ${CMAKE_SOURCE_DIR})
  set_tests_properties(layers PROPERTIES LABELS "short")
  # Debian's package prometheus brings promtool.
  add_test(NAME prometheus_rules COMMAND sh -ec
    "command -v promtool || { echo 'skipped: promtool is not installed'; exit 77; }
    promtool check rules pgcoffer.rules.yml; promtool check config --syntax-only scrape.yml
    promtool test rules tests/minutes.test.yml tests/days.test.yml"
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}/contrib/prometheus)
  set_tests_properties(prometheus_rules PROPERTIES LABELS "short" SKIP_RETURN_CODE 77)
endif()

if(FUZZ)
  # A target links the layers whose headers it includes.
  # New inputs are written into the first folder, which is not the one in the sources.
  file(GLOB fuzz_sources CONFIGURE_DEPENDS test/fuzz/fuzz_*.c)
  foreach(source IN LISTS fuzz_sources)
    cmake_path(GET source STEM target)
    string(REPLACE "fuzz_" "" name ${target})
    add_executable(${target} ${source})
    target_include_directories(${target} PRIVATE test src)
    foreach(layer IN LISTS layers_from_top)
      file(STRINGS ${source} includes REGEX "#include \"(pgcoffer/)?${layer}/")
      if(includes)
        target_link_libraries(${target} PRIVATE ${layer})
      endif()
    endforeach()
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    set(found ${CMAKE_BINARY_DIR}/corpus/${name})
    file(MAKE_DIRECTORY ${found})
    add_test(NAME ${target} COMMAND ${target} -max_total_time=${FUZZ_SECONDS} -timeout=10 -max_len=65536
                                    ${found} ${CMAKE_SOURCE_DIR}/test/fuzz/corpus/${name})
    set_tests_properties(${target} PROPERTIES LABELS "short;fuzz")
  endforeach()
  # In a copy of its own: it counts covered lines and plants bugs.
  add_test(NAME fuzz_proof COMMAND ${CMAKE_SOURCE_DIR}/contrib/dev/fuzz-proof.py --compiler ${CMAKE_C_COMPILER})
  set_tests_properties(fuzz_proof PROPERTIES LABELS "long;fuzz" TIMEOUT 3600)
  return()
endif()

# Whoever only builds needs no test library; test/run.sh installs it.
pkg_check_modules(CHECK IMPORTED_TARGET check)
if(NOT CHECK_FOUND)
  message(STATUS "no tests in this tree: the package check is not installed")
  return()
endif()
file(GLOB support_sources CONFIGURE_DEPENDS test/support/*.c)
if(support_sources)
  add_library(test_support STATIC ${support_sources})
  target_include_directories(test_support PUBLIC test PRIVATE src)
  target_link_libraries(test_support PUBLIC base PkgConfig::CHECK)
endif()

# A test links its own layer and those below, nothing else.
foreach(layer IN LISTS all_layers)
  file(GLOB test_sources CONFIGURE_DEPENDS test/${layer}/test_*.c)
  foreach(source IN LISTS test_sources)
    cmake_path(GET source STEM module)
    string(REGEX REPLACE "^test_" "" module ${module})
    set(target test_${layer}_${module})
    add_executable(${target} ${source})
    target_include_directories(${target} PRIVATE test src)
    target_compile_definitions(${target} PRIVATE TEST_SOURCE_DIRECTORY="${CMAKE_SOURCE_DIR}"
                                                 TEST_BINARY_DIRECTORY="${CMAKE_BINARY_DIR}")
    if(TARGET test_support)
      target_link_libraries(${target} PRIVATE test_support)
    endif()
    target_link_libraries(${target} PRIVATE ${layer} PkgConfig::CHECK)
    set(test ${test_prefix}${layer}_${module})
    add_test(NAME ${test} COMMAND ${target})
    set_tests_properties(${test} PROPERTIES LABELS "short;unit")
  endforeach()
endforeach()

foreach(folder breaking system bench)
  if(EXISTS ${CMAKE_SOURCE_DIR}/test/${folder}/CMakeLists.txt)
    add_subdirectory(test/${folder})
  endif()
endforeach()
