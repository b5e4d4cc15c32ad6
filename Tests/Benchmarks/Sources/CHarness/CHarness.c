#define _GNU_SOURCE
#include "CHarness.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

int harness_pin(unsigned long cores) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (unsigned core = 0; core < sizeof cores * 8; core++)
        if (cores >> core & 1) CPU_SET(core, &set);
    return sched_setaffinity(0, sizeof set, &set);
}

pid_t harness_start(char *const arguments[], unsigned long cores, const char *output) {
    pid_t parent = getpid();
    pid_t child = fork();
    if (child != 0) return child;
    // The harness blocks signals and waits for them; a server must receive them.
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int out = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int in = open("/dev/null", O_RDONLY);
    if (getppid() != parent || harness_pin(cores) < 0 || out < 0 || in < 0) _exit(126);
    dup2(in, 0);
    dup2(out, 1);
    dup2(out, 2);
    execvp(arguments[0], arguments);
    _exit(127);
}
