/*
 * What a finding does. The programs are started with an empty environment, so the options are part of them.
 * The functions' names and the options are those of the run-time libraries (clang.llvm.org/docs, "AddressSanitizer",
 * "ThreadSanitizer", "UndefinedBehaviorSanitizer").
 */

/* A finding ends the process, with a status that no bulkhead program has. Leaks are left to the unit tests: finding
 * them takes ptrace, of a process that is not dumpable. */
#define FATAL "halt_on_error=1:exitcode=99:"

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
        return FATAL "detect_leaks=0:detect_stack_use_after_return=1:strict_string_checks=1";
}

const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
        return FATAL "print_stacktrace=1";
}

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
        return FATAL "report_signal_unsafe=1:second_deadlock_stack=1";
}
