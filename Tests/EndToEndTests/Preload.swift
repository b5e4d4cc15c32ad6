import Foundation
import TestSupport

/// A library for LD_PRELOAD that makes the system behave in a rare way.
enum Preload {
    /// Fails to start the thread whose name is in FAILING_THREAD.
    ///
    /// The argument of a `WorkerThread` is a Swift object: a header of 16 bytes, then its name. Swift stores strings of
    /// up to 15 bytes inline; the last byte holds the length.
    static let noThread = """
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <errno.h>
        #include <pthread.h>
        #include <stdint.h>
        #include <stdlib.h>
        #include <string.h>

        typedef int create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

        int pthread_create(
            pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument) {
            const char *name = getenv("FAILING_THREAD");
            const unsigned char *object = argument;
            if (name && (uintptr_t)object > 65536 && memcmp(object + 16, name, strlen(name)) == 0
                && object[31] == (0xE0 | strlen(name)))
                return EAGAIN;
            return ((create *)dlsym(RTLD_NEXT, "pthread_create"))(thread, attributes, body, argument);
        }
        """

    /// Writes the mode of each Unix socket, as it is when it appears, to the file named by SOCKET_MODES.
    static let socketModes = #"""
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <sys/socket.h>
        #include <sys/stat.h>
        #include <sys/un.h>

        int bind(int descriptor, const struct sockaddr *address, socklen_t length) {
            int result = ((int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "bind"))(
                descriptor, address, length);
            const char *path = ((const struct sockaddr_un *)address)->sun_path;
            struct stat status;
            if (result == 0 && address->sa_family == AF_UNIX && stat(path, &status) == 0) {
                FILE *file = fopen(getenv("SOCKET_MODES"), "a");
                fprintf(file, "%o\n", status.st_mode & 07777);
                fclose(file);
            }
            return result;
        }
        """#

    /// Makes searches in the texts of names endless, until their progress handler ends them. Each adds a line to the file
    /// named by HEAVY_SEARCHES when it begins, and another with its duration in milliseconds when it ends.
    static let heavySearches = #"""
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <fcntl.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <time.h>
        #include <unistd.h>

        typedef int handler(void *);
        static __thread void *database;
        static __thread handler *watcher;
        static __thread void *watched;

        static void watch(void *connection, int steps, handler *body, void *argument) {
            ((void (*)(void *, int, handler *, void *))dlsym(RTLD_NEXT, "sqlite3_progress_handler"))(
                connection, steps, body, argument);
        }

        void sqlite3_progress_handler(void *connection, int steps, handler *body, void *argument) {
            database = connection;
            watcher = body;
            watched = argument;
            watch(connection, steps, body, argument);
        }

        int sqlite3_step(void *statement) {
            const char *sql = ((const char *(*)(void *))dlsym(RTLD_NEXT, "sqlite3_sql"))(statement);
            if (sql && strstr(sql, "text FROM name")) {
                int file = open(getenv("HEAVY_SEARCHES"), O_WRONLY | O_CREAT | O_APPEND, 0600);
                dprintf(file, "begun\n");
                struct timespec start, end;
                clock_gettime(CLOCK_MONOTONIC, &start);
                while (!watcher || !watcher(watched)) usleep(1000);
                clock_gettime(CLOCK_MONOTONIC, &end);
                dprintf(
                    file, "ended %ld\n",
                    (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000);
                close(file);
                // At the next step of SQLite's virtual machine.
                watch(database, 1, watcher, watched);
            }
            return ((int (*)(void *))dlsym(RTLD_NEXT, "sqlite3_step"))(statement);
        }
        """#

    /// Adds to the clock that counts the time asleep the seconds in the file named by ASLEEP.
    static let asleep = #"""
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <fcntl.h>
        #include <stdlib.h>
        #include <time.h>
        #include <unistd.h>

        int clock_gettime(clockid_t clock, struct timespec *time) {
            static int (*real)(clockid_t, struct timespec *);
            static int file = -1;
            if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
            int result = real(clock, time);
            if (clock != CLOCK_BOOTTIME || result != 0) return result;
            char text[32] = {0};
            if (file < 0) file = open(getenv("ASLEEP"), O_RDONLY | O_CLOEXEC);
            if (pread(file, text, sizeof text - 1, 0) > 0) time->tv_sec += atol(text);
            return 0;
        }
        """#

    /// The kernel announces no changes of networks, as in some sandboxes.
    static let noNetworkEvents = #"""
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <errno.h>
        #include <linux/netlink.h>
        #include <sys/socket.h>

        int bind(int descriptor, const struct sockaddr *address, socklen_t length) {
            if (address->sa_family == AF_NETLINK && ((const struct sockaddr_nl *)address)->nl_groups) {
                errno = EPERM;
                return -1;
            }
            return ((int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "bind"))(
                descriptor, address, length);
        }
        """#

    /// Compiles the library; returns its path.
    static func library(_ source: String, in folder: TemporaryFolder) async throws -> String {
        let library = folder.file("preload.so")
        let file = try folder.write(source, to: "preload.c")
        let result = try await Command.run(
            ["clang", "-shared", "-fPIC", "-o", library, file, "-ldl"], executable: URL(filePath: "/usr/bin/env"))
        guard result.code == 0 else { throw LineReader.Missing(description: "clang: \(result.errors)") }
        return library
    }
}
