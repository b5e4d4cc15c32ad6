#include "CFixedSeed.h"

#include <stdint.h>

void swift_stdlib_random(void *bytes, size_t count) {
    static uint64_t state = 53;
    for (size_t i = 0; i < count; i++) {
        // Knuth's MMIX generator; its high bits are good enough for this.
        state = state * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)bytes)[i] = (uint8_t)(state >> 56);
    }
}
