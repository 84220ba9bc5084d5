// Measures the executor against the same calls in a hand-written loop, in turns in one process: with the same address
// space, open files and idle main thread, what differs is the executor. Prints JSON, ns per operation of each round.
//
//   bench_executor KIND COUNT ROUNDS
//
// bench_loop.h says what a KIND is. The executor gets its operations in batches; of each it counts from the start of
// the first operation to the end of the last, so that what it does between two operations is in the time.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <thread>

#include "bench_loop.h"
#include "kvm_abi.h"
#include "ram.h"
#include "testing/runner.h"

namespace cvmtrace {
namespace {

// As many as a recording submits at a time.
constexpr uint64_t kBatch = 8192;
// Numbers of the objects.
constexpr double kRam = 1;
constexpr double kVm = 2;
constexpr double kGmem = 3;

struct Kind {
  const char* name;
  Operation operation;
  bool walks;  // each operation is on the next page; else all are on the first
  std::vector<Operation> (*set_up)(double bytes);
};

std::vector<Operation> MakeGmem(double bytes, double flags) {
  return {{.op = Op::kvm_create_vm, .obj = kVm},
          {.op = Op::kvm_create_guest_memfd, .obj = kGmem, .len = bytes, .flags = flags, .peer = kVm},
          {.op = Op::ram_create, .obj = kRam, .len = bytes, .flags = 0},
          {.op = Op::kvm_set_user_memory_region2,
           .obj = kVm,
           .gpa = 0,
           .offset = 0,
           .len = bytes,
           .attrs = kGmem * 0x1p32,
           .flags = KVM_MEM_GUEST_MEMFD,
           .peer = kRam}};
}

std::vector<Operation> MakeTouchedGmem(double bytes) {
  auto operations = MakeGmem(bytes, GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
  operations.push_back({.op = Op::gmem_touch, .obj = kGmem, .offset = 0, .len = bytes, .flags = 1});
  return operations;
}

std::vector<Operation> MakeTouchedRam(double bytes) {
  return {{.op = Op::ram_create, .obj = kRam, .len = bytes, .flags = ram_flag::kMemfd},
          {.op = Op::ram_touch, .obj = kRam, .offset = 0, .len = bytes, .flags = 1}};
}

const Kind kKinds[] = {
    {"madvise",
     {.op = Op::ram_madvise, .obj = kRam, .flags = 0},
     false,
     [](double) -> std::vector<Operation> {
       return {{.op = Op::ram_create, .obj = kRam, .len = kPageSize, .flags = 0}};
     }},
    {"gmem-allocate4k", {.op = Op::gmem_allocate, .obj = kGmem}, true, [](double bytes) { return MakeGmem(bytes, 0); }},
    {"gmem-punch4k", {.op = Op::gmem_punch_hole, .obj = kGmem}, true, MakeTouchedGmem},
    {"ram-punch4k", {.op = Op::ram_punch_hole, .obj = kRam}, true, MakeTouchedRam},
};

std::unique_ptr<Batch> RunAll(Runner& runner, const std::vector<Operation>& operations) {
  auto batch = runner.Run(operations);
  for (size_t row = 0; row < batch->rows; ++row) {
    if (const int error = batch->error[row]) {
      fprintf(stderr, "bench_executor: %s: %s\n", kOpNames[static_cast<size_t>(batch->op[row])], strerror(error));
      exit(1);
    }
  }
  return batch;
}

double TimeLoop(const Kind& kind, uint64_t count, bool times_each_call) {
  // Filled, so that no page fault is in the loop.
  std::vector<CallTime> times(times_each_call ? count : 0, CallTime{1, 1, 1});
  double ns = 0;
  // On a new thread, as the executor's is, while this one waits.
  std::thread([&] { ns = RunLoop(kind.name, count, times_each_call ? times.data() : nullptr); }).join();
  return ns;
}

double TimeExecutor(const Kind& kind, uint64_t count) {
  Runner runner;
  RunAll(runner, kind.set_up(static_cast<double>(count * kPageSize)));
  uint64_t ns = 0;
  for (uint64_t first = 0; first < count; first += kBatch) {
    std::vector<Operation> operations(std::min(kBatch, count - first), kind.operation);
    for (size_t i = 0; i < operations.size(); ++i) {
      operations[i].offset = kind.walks ? static_cast<double>((first + i) * kPageSize) : 0;
      operations[i].len = kPageSize;
    }
    const auto batch = RunAll(runner, operations);
    const size_t last = batch->rows - 1;
    ns += batch->ts_ns[last] + batch->dur_ns[last] - batch->ts_ns[0];
  }
  return static_cast<double>(ns) / static_cast<double>(count);
}

void Print(const char* key, const std::vector<double>& values) {
  printf(",\"%s\":[", key);
  for (size_t i = 0; i < values.size(); ++i) printf("%s%.2f", i ? "," : "", values[i]);
  printf("]");
}

int Main(const char* name, uint64_t count, uint64_t rounds) {
  const auto* const kind =
      std::find_if(std::begin(kKinds), std::end(kKinds), [&](const Kind& k) { return strcmp(k.name, name) == 0; });
  if (kind == std::end(kKinds) || count == 0 || rounds == 0) {
    fprintf(stderr, "usage: bench_executor madvise|gmem-allocate4k|gmem-punch4k|ram-punch4k COUNT ROUNDS\n");
    return 2;
  }
  std::vector<double> loop;
  std::vector<double> timing_loop;
  std::vector<double> executor;
  // Round 0 warms up.
  for (uint64_t round = 0; round <= rounds; ++round) {
    loop.push_back(TimeLoop(*kind, count, false));
    timing_loop.push_back(TimeLoop(*kind, count, true));
    executor.push_back(TimeExecutor(*kind, count));
  }
  for (auto* const times : {&loop, &timing_loop, &executor}) times->erase(times->begin());
  printf("{\"kind\":\"%s\",\"count\":%llu", name, static_cast<unsigned long long>(count));
  Print("loop", loop);
  Print("timingLoop", timing_loop);
  Print("executor", executor);
  printf("}\n");
  return 0;
}

}  // namespace
}  // namespace cvmtrace

int main(int argc, char** argv) {
  if (argc != 4) return cvmtrace::Main("", 0, 0);
  return cvmtrace::Main(argv[1], strtoull(argv[2], nullptr, 10), strtoull(argv[3], nullptr, 10));
}
