import Foundation
import TestSupport

/// A library that is loaded in front of a program's own, so that the system behaves as it rarely does.
enum Preload {
    /// Starts no thread of the name that FAILING_THREAD has.
    ///
    /// The argument of a `WorkerThread` is an object: a header of 16 bytes, then its name, in place, as Swift keeps what
    /// has 15 bytes at most; the last byte tells the length.
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

    /// Compiles it; returns the path.
    static func library(_ source: String, in folder: TemporaryFolder) async throws -> String {
        let library = folder.file("preload.so")
        let file = try folder.write(source, to: "preload.c")
        let result = try await Command.run(
            ["clang", "-shared", "-fPIC", "-o", library, file, "-ldl"], executable: URL(filePath: "/usr/bin/env"))
        guard result.code == 0 else { throw LineReader.Missing(description: "clang: \(result.errors)") }
        return library
    }
}
