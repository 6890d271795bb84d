# Reads what a test runner printed and writes "PASSED FAILED", summed over all its suites.
#   awk -v runner=cargo|vitest|node -f dev/count.awk LOG
# The three formats, as their runners print them:
#   cargo    test result: ok. 12 passed; 0 failed; 0 ignored; ...
#   vitest         Tests  1 failed | 11 passed (12)
#   node     ℹ pass 5 / ℹ fail 0, or with the tap reporter: # pass 5 / # fail 0
{ gsub(/\033\[[0-9;]*m/, "") }

runner == "cargo" && /^test result: / {
  for (i = 1; i < NF; i++) {
    if ($(i + 1) == "passed;") passed += $i
    if ($(i + 1) == "failed;") failed += $i
  }
}

runner == "vitest" && /^ *Tests  / {
  for (i = 1; i < NF; i++) {
    if ($(i + 1) == "passed") passed += $i
    if ($(i + 1) == "failed") failed += $i
  }
}

runner == "node" && /^(ℹ|#) pass [0-9]+$/ { passed += $3 }
runner == "node" && /^(ℹ|#) (fail|cancelled) [0-9]+$/ { failed += $3 }

END { print passed + 0, failed + 0 }
