// A guest run: several vCPUs of one VM, each with a batch and a thread of its own.
#pragma once

#include <pthread.h>
#include <stdint.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "batch.h"
#include "guest_vcpu_run.h"
#include "objects.h"
#include "result.h"

namespace cvmtrace {

struct GuestRun {
  struct VcpuBatch {
    uint32_t obj;  // number of the vCPU
    std::unique_ptr<Batch> batch;
  };

  uint32_t vm = 0;          // number of the VM
  uint32_t memory_obj = 0;  // number of the ram object that is the guest program's memory
  uint64_t memory_gpa = 0;  // where the VM has it
  std::vector<VcpuBatch> vcpus;

  // Outcome, beside that of the batches: what ended the run before its time, and on which vCPU (0: none).
  std::optional<Error> failure;
  uint32_t failed_vcpu = 0;
};

// The threads of vCPUs. One is started with the vCPU's first run and stays, as a VMM's does.
class GuestThreads {
 public:
  // `stop` ends a run, and is set by it if a batch stops at a failure.
  GuestThreads(Objects& objects, uint64_t clock_base_ns, std::atomic<bool>& stop)
      : objects_(objects), clock_base_ns_(clock_base_ns), stop_(stop) {}
  ~GuestThreads() { Join(); }

  GuestThreads(const GuestThreads&) = delete;
  GuestThreads& operator=(const GuestThreads&) = delete;

  // Executor's thread. Returns when all vCPUs have stopped.
  void Run(GuestRun& run, uint64_t absolute_start_ns);

  // Any thread, after `stop` was set: vCPUs that run in the guest notice.
  void Kick();

  // Executor's thread, with no run: ends the threads. Before the objects are closed.
  void Join();

 private:
  struct Worker {
    uint32_t obj;
    Vcpu vcpu;
    pthread_t thread;
    GuestThreads* threads;

    // What it is to do next, all null between two runs.
    const GuestRunContext* context = nullptr;
    const GuestArea* area = nullptr;
    size_t place = 0;
    Batch* batch = nullptr;
    std::optional<Error> failure;
  };

  static void* ThreadMain(void* worker);
  void Work(Worker& worker);
  std::optional<Error> Prepare(const GuestRun& run, std::optional<GuestArea>* area, std::vector<Worker*>* workers);
  Result<Worker*> FindOrStart(uint32_t number, const Object& vcpu);
  void StopAll();

  Objects& objects_;
  const uint64_t clock_base_ns_;
  std::atomic<bool>& stop_;

  std::mutex mutex_;
  std::condition_variable changed_;  // a worker has work, or has finished it, or ending_ was set
  std::vector<std::unique_ptr<Worker>> workers_;
  bool ending_ = false;
};

}  // namespace cvmtrace
