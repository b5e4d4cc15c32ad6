#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// MARK: Signals

static const int forwarded[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
enum { forwarded_count = sizeof forwarded / sizeof *forwarded };

static atomic_int command;
/// A signal that arrived before there was a command to pass it on to.
static atomic_int early;

static void forward(int number, siginfo_t *info, void *unused) {
    (void)unused;
    // Ctrl-C and the like: the terminal has signalled its whole foreground group, which includes the command.
    if (info->si_code == SI_KERNEL) return;
    int saved = errno;
    pid_t target = atomic_load(&command);
    if (target > 0) {
        kill(target, number);
    } else {
        atomic_store(&early, number);
    }
    errno = saved;
}

// MARK: The keeper and the command: async-signal-safe calls only, since other threads may have held locks at the fork

enum { most_covers = 8, started = -1 };

struct plan {
    char *const *arguments;
    const struct clinux_cover *covers;
    int count;
    char user_map[48];
    char group_map[48];
    struct sigaction actions[forwarded_count];
    pid_t parent;
    int report;
    int watch;
    int files[most_covers];
};

static void tell(const struct plan *plan, int step, int code, int cover) {
    struct clinux_start_failure failure = {.step = step, .code = code, .cover = cover};
    ssize_t written = write(plan->report, &failure, sizeof failure);
    (void)written;
}

static _Noreturn void give_up(const struct plan *plan, int step, int cover) {
    tell(plan, step, errno, cover);
    _exit(127);
}

static int write_file(const char *path, const char *text) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0) return -1;
    ssize_t length = (ssize_t)strlen(text);
    int result = write(file, text, (size_t)length) == length ? 0 : -1;
    int saved = errno;
    close(file);
    errno = saved;
    return result;
}

/// Makes "/proc/self/fd/N"; `file` is below 10^9.
static const char *path_of(int file, char buffer[32]) {
    char *digit = buffer + 31;
    *digit = 0;
    do { *--digit = (char)('0' + file % 10); } while ((file /= 10) > 0);
    static const char folder[] = "/proc/self/fd/";
    return memcpy(digit - (sizeof folder - 1), folder, sizeof folder - 1);
}

/// Watches the folder of `path` for changes; `path` may be overwritten afterwards.
static void watch_folder_of(const struct plan *plan, const char *path) {
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 0 : (size_t)(slash - path);
    if (length == 0 || length >= sizeof folder) return;
    memcpy(folder, path, length);
    folder[length] = 0;
    inotify_add_watch(plan->watch, folder, IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM);
}

static int cover(const struct plan *plan, int index) {
    const char *over = plan->covers[index].over;
    char link[32], real[PATH_MAX];
    if (mount(path_of(plan->files[index], link), over, NULL, MS_BIND, NULL) != 0) return -1;
    if (plan->watch < 0) return 0;
    // Watches both the folder of the link and that of its target.
    watch_folder_of(plan, over);
    int file = open(over, O_PATH | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t length = readlink(path_of(file, link), real, sizeof real - 1);
    close(file);
    if (length > 0) {
        real[length] = 0;
        watch_folder_of(plan, real);
    }
    return 0;
}

/// Renaming a new file over a covered one, as many programs do, removes the mount on the old one: then it is covered
/// again.
static _Noreturn void keep_covered(const struct plan *plan) {
    char events[4096];
    while (plan->watch >= 0) {
        ssize_t length = read(plan->watch, events, sizeof events);
        if (length < 0 && errno != EINTR) break;
        for (int i = 0; i < plan->count; i++) {
            struct stat seen, ours;
            if (stat(plan->covers[i].over, &seen) == 0 && fstat(plan->files[i], &ours) == 0
                && (seen.st_dev != ours.st_dev || seen.st_ino != ours.st_ino))
                cover(plan, i);
        }
    }
    while (1) pause();
}

static _Noreturn void become_command(const struct plan *plan) {
    // The parent has ended: nobody would wait for the command, and a private daemon has ended too.
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != plan->parent) _exit(128 + SIGTERM);
    for (int i = 0; i < forwarded_count; i++) sigaction(forwarded[i], &plan->actions[i], NULL);
    // The calling thread may block all signals, as Dispatch's threads do.
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(plan->arguments[0], plan->arguments);
    give_up(plan, CLINUX_EXECUTE, 0);
}

/// The namespace's first process: sets it up, starts the command as a child of its own parent, and maintains the covers
/// until it is killed. All signals are blocked.
static _Noreturn void become_keeper(struct plan *plan) {
    if (unshare(CLONE_NEWNS) != 0) {
        if (errno != EPERM) give_up(plan, CLINUX_UNSHARE, 0);
        // A program with file capabilities does not own its /proc files unless it is dumpable.
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) give_up(plan, CLINUX_UNSHARE, 0);
        // user_namespaces(7): without "deny", only privileged processes may map groups.
        if (write_file("/proc/self/setgroups", "deny") != 0 || write_file("/proc/self/gid_map", plan->group_map) != 0
            || write_file("/proc/self/uid_map", plan->user_map) != 0)
            give_up(plan, CLINUX_MAP_USER, 0);
    }
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) give_up(plan, CLINUX_MAKE_PRIVATE, 0);
    // Without inotify the covers still work, unless a covered file is replaced.
    plan->watch = inotify_init1(IN_CLOEXEC);
    for (int i = 0; i < plan->count; i++) {
        // Opened in this namespace, because a file can be mounted only from its own; works even once its name is gone.
        plan->files[i] = open(plan->covers[i].file, O_PATH | O_CLOEXEC);
        if (plan->files[i] < 0 || cover(plan, i) != 0) give_up(plan, CLINUX_COVER, i);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != plan->parent) _exit(128 + SIGKILL);
    pid_t child = (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) become_command(plan);
    if (child < 0) give_up(plan, CLINUX_FORK, 0);
    tell(plan, started, child, 0);
    close(plan->report);
    keep_covered(plan);
}

// MARK: The caller's side

static pid_t keeper;

static void end_keeper(void) {
    kill(keeper, SIGKILL);
    while (waitpid(keeper, NULL, 0) < 0 && errno == EINTR) continue;
}

static ssize_t receive(int end, struct clinux_start_failure *message) {
    ssize_t length;
    do { length = read(end, message, sizeof *message); } while (length < 0 && errno == EINTR);
    return length;
}

static void install_forwarding(struct sigaction *before) {
    struct sigaction action = {.sa_sigaction = forward, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigfillset(&action.sa_mask);
    for (int i = 0; i < forwarded_count; i++) {
        sigaction(forwarded[i], NULL, &before[i]);
        // Signals that nohup ignores for its command stay ignored.
        if (before[i].sa_handler != SIG_IGN) sigaction(forwarded[i], &action, NULL);
    }
}

/// Waits until the command is executed; -1 if it is not.
static pid_t await_command(int end, struct clinux_start_failure *failure) {
    if (receive(end, failure) <= 0) {
        *failure = (struct clinux_start_failure){.step = CLINUX_FORK, .code = ECHILD};
        return -1;
    }
    if (failure->step != started) return -1;
    pid_t child = failure->code;
    // The command's end of the pipe closes on exec.
    if (receive(end, failure) == 0) return child;
    waitpid(child, NULL, 0);
    return -1;
}

pid_t clinux_start_covered(
    char *const arguments[], const struct clinux_cover *covers, int count, struct clinux_start_failure *failure) {
    struct plan plan = {.arguments = arguments, .covers = covers, .count = count, .parent = getpid()};
    *failure = (struct clinux_start_failure){.step = CLINUX_FORK, .code = EINVAL};
    int ends[2];
    if (count > most_covers) return -1;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        failure->code = errno;
        return -1;
    }
    plan.report = ends[1];
    snprintf(plan.user_map, sizeof plan.user_map, "%u %u 1", geteuid(), geteuid());
    snprintf(plan.group_map, sizeof plan.group_map, "%u %u 1", getegid(), getegid());
    install_forwarding(plan.actions);

    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t child = -1;
    keeper = fork();
    if (keeper == 0) become_keeper(&plan);
    failure->code = errno;
    close(ends[1]);
    if (keeper > 0) {
        child = await_command(ends[0], failure);
        if (child < 0) end_keeper();
    }
    close(ends[0]);
    if (child < 0) {
        for (int i = 0; i < forwarded_count; i++) sigaction(forwarded[i], &plan.actions[i], NULL);
    } else {
        atomic_store(&command, child);
        int number = atomic_exchange(&early, 0);
        if (number != 0) kill(child, number);
        // If the caller had them blocked, none would arrive to be passed on.
        for (int i = 0; i < forwarded_count; i++) sigdelset(&before, forwarded[i]);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return child;
}

int clinux_wait_for_command(pid_t child) {
    siginfo_t end;
    while (waitid(P_PID, (id_t)child, &end, WEXITED | WNOWAIT) < 0 && errno == EINTR) continue;
    // Once it is reaped, its process ID may be reused.
    atomic_store(&command, 0);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    end_keeper();
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
