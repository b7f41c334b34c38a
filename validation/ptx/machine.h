/* What translated PTX calls: a block's threads as coroutines, barriers, and memory that remembers who touched it. */
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum { GLOBAL, SHARED, LOCAL };
enum { RUNNING, WAITING, DONE };

/* A word of 4 bytes. Phases count barriers and blocks of a whole launch, so a number never comes back. */
typedef struct {
    uint32_t written_in, written_by, read_in, read_by;
    uint8_t known;
} Word;

typedef struct {
    uint8_t *base;
    uint64_t bytes;
    Word *words;
} Area;                              /* an array of the launch, shared or local memory */

typedef struct {
    ucontext_t context;
    uint32_t x, y, z, state;
    int barrier;                     /* line of the barrier at which it waits */
    uint8_t *local;
    Word *local_words;
    char *stack;
} Thread;

static Thread *threads, *self;
static ucontext_t scheduler;
static uint32_t grid[3], block[3], here[3], count;
static uint32_t phase, block_phase, launch_order;
static uint8_t *shared;
static Word *shared_words;
static uint32_t shared_bytes, dynamic_bytes;
static Area *areas;
static uint32_t area_count;
static uint64_t branches_left;
static int removed;                  /* line of a barrier to be left out, or 0 */
static char *report;
static const uint64_t *arguments;

/* ---- faults: the first one ends the launch. Back in the scheduler, which every thread and `meet` has behind it */

__attribute__((noreturn)) static void fault(int line, const char *kind, const char *format, ...) {
    char text[256];
    va_list rest;
    va_start(rest, format);
    vsnprintf(text, sizeof text, format, rest);
    va_end(rest);
    snprintf(report, 512, "%s|line %d, block (%u, %u, %u), thread (%u, %u, %u): %s", kind, line, here[0], here[1],
             here[2], self->x, self->y, self->z, text);
    setcontext(&scheduler);
    abort();
}

/* ---- bits and numbers */

static inline float f32_of(uint32_t bits) { float x; memcpy(&x, &bits, 4); return x; }
static inline uint32_t bits_f32(float x) { uint32_t bits; memcpy(&bits, &x, 4); return bits; }
static inline double f64_of(uint64_t bits) { double x; memcpy(&x, &bits, 8); return x; }
static inline uint64_t bits_f64(double x) { uint64_t bits; memcpy(&bits, &x, 8); return bits; }
static inline float flushed(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x; }
static inline float saturated(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }

/* x y + z rounded down: x y is exact in float64, and so is the sum with what its rounding left out */
static inline float fma_down(float x, float y, float z) {
    double product = (double)x * y, sum = product + z, moved = sum - product;
    double rest = (product - (sum - moved)) + (z - moved);
    float near = (float)sum;
    return near > sum || (near == sum && rest < 0) ? nextafterf(near, -INFINITY) : near;
}

/* x + y rounded towards zero: the sum in float64, and what its rounding left out */
static inline float add_to_zero(float x, float y) {
    double sum = (double)x + y, moved = sum - x, rest = (x - (sum - moved)) + (y - moved);
    float near = (float)sum;
    double over = (near - sum) - rest;
    return (over > 0 && near > 0) || (over < 0 && near < 0) ? nextafterf(near, 0) : near;
}

/* -1 .. 1, the same for the same bits */
static inline double share_of(uint32_t bits) { return ((bits * 2654435761u) >> 8) * 0x1p-23 - 1.0; }

/* What an approximate instruction may return: the true value, off by up to `relative` of itself, or by `absolute` */
static inline float inexact(double x, double relative, double absolute) {
    if (!isfinite(x) || x == 0) return (float)x;
    double share = share_of(bits_f32((float)x));
    return (float)(x + share * (relative * fabs(x) + absolute));
}

/* out of range a conversion to an integer saturates, NaN is 0 */
static inline int64_t to_integer(double x, double lo, double hi) {
    if (isnan(x)) return 0;
    return x <= lo ? (int64_t)lo : x >= hi ? (hi >= 0x1p63 ? INT64_MAX : (int64_t)hi) : (int64_t)x;
}
static inline uint64_t to_unsigned(double x, double hi) {
    if (isnan(x) || x <= 0) return 0;
    return x >= hi ? (hi >= 0x1p64 ? UINT64_MAX : (uint64_t)hi) : (uint64_t)x;
}
static inline uint64_t shift_left(uint64_t x, uint32_t by, uint32_t width) { return by < width ? x << by : 0; }
static inline uint64_t shift_right(uint64_t x, uint32_t by, uint32_t width) { return by < width ? x >> by : 0; }
static inline int64_t shift_signed(int64_t x, uint32_t by, uint32_t width) {
    return x >> (by < width ? by : width - 1);
}
/* y with the low bits of x at a place; place and number are counted modulo 256 */
static inline uint64_t inserted(uint64_t x, uint64_t y, uint32_t place, uint32_t many, uint32_t width) {
    place &= 255, many &= 255;
    uint64_t ones = many < 64 ? (1ull << many) - 1 : UINT64_MAX;
    if (place >= width) return y;
    return (y & ~(ones << place)) | ((x & ones) << place);
}

/* ---- memory */

static void check_word(int line, Word *word, uint64_t byte, int writing) {
    uint32_t me = (uint32_t)(self - threads);
    const char *act = writing ? "write" : "read";
    if (word->written_in && (word->written_in < block_phase || (word->written_in == phase && word->written_by != me)))
        fault(line, "race", "%s of byte %lu, which thread %u %s wrote", act, (unsigned long)byte, word->written_by,
              word->written_in < block_phase ? "of another block" : "of this block");
    if (writing) {
        if (word->read_in && (word->read_in < block_phase || (word->read_in == phase && word->read_by != me)))
            fault(line, "race", "write of byte %lu, which another thread %s read", (unsigned long)byte,
                  word->read_in < block_phase ? "of another block" : "of this block");
        word->written_in = phase, word->written_by = me, word->known = 1;
        return;
    }
    if (!word->known) fault(line, "uninitialised", "read of byte %lu, which nobody wrote", (unsigned long)byte);
    if (word->read_in == phase && word->read_by != me) word->read_by = UINT32_MAX; /* several */
    else word->read_in = phase, word->read_by = me;
}

enum { SHARED_MEMORY = -1, LOCAL_MEMORY = -2 }; /* or the number of an array */

static const char *name_of(int which) {
    static char name[24];
    if (which < 0) return which == SHARED_MEMORY ? "shared memory" : "local memory";
    snprintf(name, sizeof name, "array %d", which);
    return name;
}

static void *checked(int line, int which, Area area, int64_t offset, uint32_t bytes, int writing) {
    if (offset < 0 || (uint64_t)offset + bytes > area.bytes)
        fault(line, "range", "%s of bytes %ld .. %ld of %s, which has %lu", writing ? "write" : "read", (long)offset,
              (long)(offset + bytes) - 1, name_of(which), (unsigned long)area.bytes);
    if (offset % bytes) fault(line, "misaligned", "%u bytes at byte %ld of %s", bytes, (long)offset, name_of(which));
    for (int64_t w = offset / 4; w <= (offset + bytes - 1) / 4; w++) check_word(line, area.words + w, 4 * w, writing);
    return area.base + offset;
}

/* The host address of `bytes` bytes that the thread may touch. Addresses are of no computer: shared and local ones are
   offsets, array k begins at (k + 1) ARRAY, with so much free before and behind that no index leads from one array to
   another; in addresses of all memory, shared and local stand behind the arrays. */
#define ARRAY (1ull << 40)
#define SHARED_BASE (1ull << 52)
#define LOCAL_BASE (1ull << 53)
static void *touch(int line, int space, uint64_t address, uint32_t bytes, int writing) {
    Area of_block = {shared, shared_bytes, shared_words}, of_thread = {self->local, LOCAL_BYTES, self->local_words};
    if (space == SHARED) return checked(line, SHARED_MEMORY, of_block, (int64_t)address, bytes, writing);
    if (space == LOCAL) return checked(line, LOCAL_MEMORY, of_thread, (int64_t)address, bytes, writing);
    if (address + ARRAY / 2 >= LOCAL_BASE) return touch(line, LOCAL, address - LOCAL_BASE, bytes, writing);
    if (address + ARRAY / 2 >= SHARED_BASE) return touch(line, SHARED, address - SHARED_BASE, bytes, writing);
    uint64_t which = (address + ARRAY / 2) / ARRAY;
    if (which < 1 || which > area_count)
        fault(line, "range", "%s of address %lx", writing ? "write" : "read", (unsigned long)address);
    return checked(line, (int)which - 1, areas[which - 1], (int64_t)(address - which * ARRAY), bytes, writing);
}

/* ---- threads */

static void barrier(int line) {
    if (line == removed) return;
    self->state = WAITING, self->barrier = line;
    swapcontext(&self->context, &scheduler);
}

static inline void branch(int line) {
    if (branches_left-- == 0) fault(line, "endless", "more backward branches than the launch allows");
}

static void kernel(const uint64_t *arguments);

static void enter(void) {
    kernel(arguments);
    self->state = DONE;
    setcontext(&scheduler);
}

static uint32_t next_random(uint32_t *state) {
    *state ^= *state << 13, *state ^= *state >> 17, *state ^= *state << 5;
    return *state;
}

static void shuffle(uint32_t *order, uint32_t *random) {
    for (uint32_t i = count - 1; i > 0; i--) {
        uint32_t j = next_random(random) % (i + 1), held = order[i];
        order[i] = order[j], order[j] = held;
    }
}

/* every thread stands at the same barrier, or all are done: 1 if there is more to run */
static int meet(void) {
    uint32_t done = 0;
    for (uint32_t i = 0; i < count; i++) done += threads[i].state == DONE;
    if (done == count) return 0;
    Thread *first = NULL;
    for (uint32_t i = 0; i < count; i++)
        if (threads[i].state == WAITING) {
            self = threads + i;
            if (done) fault(self->barrier, "barrier", "%u threads have left, others wait here", done);
            if (first && first->barrier != self->barrier)
                fault(self->barrier, "barrier", "others wait in line %d", first->barrier);
            first = self;
        }
    for (uint32_t i = 0; i < count; i++) threads[i].state = RUNNING;
    phase++;
    return 1;
}

static void run_block(uint32_t *order, uint32_t *random) {
    memset(shared, 0xff, shared_bytes);
    memset(shared_words, 0, (shared_bytes / 4 + 2) * sizeof(Word));
    block_phase = ++phase;
    for (uint32_t i = 0; i < count; i++) {
        Thread *t = threads + i;
        t->x = i % block[0], t->y = i / block[0] % block[1], t->z = i / block[0] / block[1], t->state = RUNNING;
        memset(t->local, 0xff, LOCAL_BYTES);
        memset(t->local_words, 0, (LOCAL_BYTES / 4 + 2) * sizeof(Word));
        getcontext(&t->context);
        t->context.uc_stack.ss_sp = t->stack, t->context.uc_stack.ss_size = STACK_BYTES, t->context.uc_link = NULL;
        makecontext(&t->context, enter, 0);
    }
    do {
        if (launch_order) shuffle(order, random);
        for (uint32_t k = 0; k < count; k++) {
            self = threads + order[k];
            if (self->state == RUNNING) swapcontext(&scheduler, &self->context);
            if (report[0]) return;
        }
    } while (meet() && !report[0]);
}

static void run_grid(uint32_t *order, uint32_t *random) {
    for (here[2] = 0; here[2] < grid[2]; here[2]++)
        for (here[1] = 0; here[1] < grid[1]; here[1]++)
            for (here[0] = 0; here[0] < grid[0]; here[0]++) {
                run_block(order, random);
                if (report[0]) return;
            }
}

/* sizes: grid (3), block (3), dynamic shared bytes, seed of the threads' order (0: ascending), the removed barrier */
void launch(const uint64_t *args, const uint32_t *sizes, Area *given, uint32_t given_count, uint64_t limit,
            char *text) {
    memcpy(grid, sizes, sizeof grid), memcpy(block, sizes + 3, sizeof block);
    count = block[0] * block[1] * block[2], dynamic_bytes = sizes[6], launch_order = sizes[7];
    arguments = args, areas = given, area_count = given_count, branches_left = limit, report = text;
    phase = 0, report[0] = 0, removed = (int)sizes[8], shared_bytes = SHARED_BYTES + dynamic_bytes;
    shared = aligned_alloc(256, (shared_bytes + 512) / 256 * 256);
    shared_words = malloc((shared_bytes / 4 + 2) * sizeof(Word));
    threads = calloc(count, sizeof(Thread));
    uint32_t *order = malloc(count * sizeof(uint32_t)), random = launch_order;
    for (uint32_t i = 0; i < count; i++) {
        threads[i].stack = malloc(STACK_BYTES), threads[i].local = aligned_alloc(16, (LOCAL_BYTES + 31) / 16 * 16);
        threads[i].local_words = malloc((LOCAL_BYTES / 4 + 2) * sizeof(Word)), order[i] = i;
    }
    self = threads;
    run_grid(order, &random);
    for (uint32_t i = 0; i < count; i++) free(threads[i].stack), free(threads[i].local), free(threads[i].local_words);
    free(threads), free(order), free(shared), free(shared_words);
}
