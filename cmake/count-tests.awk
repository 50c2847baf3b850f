# Reads ctest's LastTest.log files and prints what failed, what was skipped and why, and as last line
# "PASSED FAILED SKIPPED". doctest programs count by test case, everything else by ctest entry. A test case that
# printed "SKIPPED name: reason" has not passed.

function end_of_entry() {
  if (entry == "") return
  if (has_summary) {
    passed += cases_passed - entry_skips
    failed += cases_failed
    skipped += entry_skips
    # A crash or a sanitizer report after the last case.
    if (status == "failed" && cases_failed == 0) ++failed
  } else if (status == "passed") {
    if (entry_skips > 0) skipped += entry_skips
    else ++passed
  } else if (status == "skipped") {
    ++skipped
  } else {
    ++failed
  }
  if (status == "failed") failures = failures "FAILED " prefix entry "\n"
  entry = ""
}

function strip_colour(text) { gsub(/\033\[[0-9;]*m/, "", text); return text }

FNR == 1 { end_of_entry(); prefix = FILENAME; sub(/\/Testing\/.*/, "", prefix); sub(/.*\//, "", prefix); prefix = prefix ": " }

/^[0-9]+\/[0-9]+ Testing: / {
  end_of_entry()
  entry = $0
  sub(/^[0-9]+\/[0-9]+ Testing: /, "", entry)
  status = "failed"
  found = 1
  has_summary = cases_passed = cases_failed = entry_skips = 0
  delete seen
  next
}

# A case with several subcases says it several times.
/^SKIPPED .+: / {
  if (!($0 in seen)) {
    seen[$0] = 1
    ++entry_skips
    reason = $0
    sub(/^SKIPPED /, "", reason)
    reasons = reasons "SKIPPED " prefix reason "\n"
  }
}

/\[doctest\] test cases:/ {
  line = strip_colour($0)
  split(line, part, "|")
  match(part[2], /[0-9]+/)
  cases_passed = substr(part[2], RSTART, RLENGTH)
  match(part[3], /[0-9]+/)
  cases_failed = substr(part[3], RSTART, RLENGTH)
  has_summary = 1
}

# ctest writes "Test Passed." for a program that it did not find; its command is then empty.
/^Command: ""$/ { found = 0 }
/^Test Passed\.$/ || /^Test Pass Reason:$/ { status = found ? "passed" : "failed" }
/^Skip regular expression found in output/ { status = "skipped" }
/^Test Failed\.$/ || /^Test Fail Reason:$/ { status = "failed" }

END {
  end_of_entry()
  printf "%s%s", failures, reasons
  printf "%d %d %d\n", passed, failed, skipped
}
