#include "guest_run.h"

#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "guest_area.h"
#include "kvm_abi.h"

namespace cvmtrace {
namespace {

// Hypercalls that exit to user space: KVM_HC_MAP_GPA_RANGE.
constexpr uint64_t kExitHypercalls = 1u << 12;

bool EnableCap(const Object& vm, uint32_t capability, uint64_t argument) {
  kvm_enable_cap enable = {};
  enable.cap = capability;
  enable.args[0] = argument;
  return ::ioctl(vm.fd.get(), KVM_ENABLE_CAP, &enable) == 0;
}

}  // namespace

void GuestThreads::Run(GuestRun& run, uint64_t absolute_start_ns) {
  std::optional<GuestArea> area;
  std::vector<Worker*> workers;
  if ((run.failure = Prepare(run, &area, &workers))) return;
  const GuestRunContext context = {objects_, clock_base_ns_, absolute_start_ns, stop_, [this] { StopAll(); }};
  std::unique_lock lock(mutex_);
  for (size_t i = 0; i < workers.size(); ++i) {
    Worker& worker = *workers[i];
    worker.area = &*area;
    worker.place = i;
    worker.batch = run.vcpus[i].batch.get();
    worker.failure.reset();
    worker.context = &context;
  }
  changed_.notify_all();
  changed_.wait(lock, [&] { return std::ranges::all_of(workers, [](Worker* worker) { return !worker->context; }); });
  for (Worker* const worker : workers) {
    if (!worker->failure || run.failure) continue;
    run.failure = std::move(worker->failure);
    run.failed_vcpu = worker->obj;
  }
}

// All that is the same for every vCPU, and the threads.
std::optional<Error> GuestThreads::Prepare(const GuestRun& run, std::optional<GuestArea>* area,
                                           std::vector<Worker*>* workers) {
  const Object* const vm = objects_.Find(run.vm, ObjectKind::kVm);
  if (!vm) return Error{EBADF, "runGuest", "object " + std::to_string(run.vm) + " is no VM"};
  const Object* const memory = objects_.Find(run.memory_obj, ObjectKind::kRam);
  if (!memory) return Error{EBADF, "runGuest", "object " + std::to_string(run.memory_obj) + " is no ram"};
  const uint64_t needed = GuestArea::BytesFor(run.memory_gpa, run.vcpus.size());
  if (needed == 0) {
    return Error{EINVAL, "runGuest",
                 "no memory of a guest program for " + std::to_string(run.vcpus.size()) + " vCPUs can be at gpa " +
                     std::to_string(run.memory_gpa)};
  }
  if (memory->size < needed) {
    return Error{EINVAL, "runGuest",
                 "the guest program needs " + std::to_string(needed) + " bytes, object " +
                     std::to_string(run.memory_obj) + " has " + std::to_string(memory->size)};
  }
  area->emplace(memory->map.data(), run.memory_gpa, run.vcpus.size());

  for (const GuestRun::VcpuBatch& vcpu : run.vcpus) {
    const Object* const object = objects_.Find(vcpu.obj, ObjectKind::kVcpu);
    if (!object) return Error{EBADF, "runGuest", "object " + std::to_string(vcpu.obj) + " is no vCPU"};
    if (std::string problem = VcpuRun::Check(*vcpu.batch, **area); !problem.empty()) {
      return Error{EINVAL, "runGuest", std::move(problem)};
    }
    auto worker = FindOrStart(vcpu.obj, *object);
    if (!worker) return worker.error();
    if (std::ranges::find(*workers, worker.value()) != workers->end()) {
      return Error{EINVAL, "runGuest", "vCPU " + std::to_string(vcpu.obj) + " is there twice"};
    }
    workers->push_back(worker.value());
  }

  // Where KVM does not know the hypercall instruction it is to be an exception. KVM would patch it instead, for ever if
  // it is a KVM without hardware virtualisation. One that is too old to be asked, before Linux 5.19, is not such a one.
  EnableCap(*vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_FIX_HYPERCALL_INSN);
  if (!EnableCap(*vm, KVM_CAP_EXIT_HYPERCALL, kExitHypercalls)) {
    return LastError("ioctl(KVM_ENABLE_CAP)", "KVM_CAP_EXIT_HYPERCALL");
  }
  (*area)->Write();
  return {};
}

Result<GuestThreads::Worker*> GuestThreads::FindOrStart(uint32_t number, const Object& vcpu) {
  const std::lock_guard lock(mutex_);
  for (const auto& worker : workers_) {
    if (worker->obj == number) return worker.get();
  }
  std::unique_ptr<Worker> worker(new Worker{number, Vcpu(vcpu), {}, this});
  // It inherits the mask of the executor's thread, which takes no signal but those that it causes itself.
  if (const int error = pthread_create(&worker->thread, nullptr, ThreadMain, worker.get())) {
    return Error{error, "pthread_create", {}};
  }
  workers_.push_back(std::move(worker));
  return workers_.back().get();
}

void* GuestThreads::ThreadMain(void* worker) {
  auto* const self = static_cast<Worker*>(worker);
  self->threads->Work(*self);
  return nullptr;
}

void GuestThreads::Work(Worker& worker) {
  ::prctl(PR_SET_NAME, "cvmtrace-vcpu");
  const int tid = static_cast<int>(::syscall(SYS_gettid));
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return worker.context || ending_; });
    if (!worker.context) return;
    const GuestRunContext& context = *worker.context;
    Batch& batch = *worker.batch;
    lock.unlock();

    batch.tid = tid;
    batch.stopped = batch.count() > 0;
    auto failure = worker.vcpu.SetUp(*worker.area, worker.place);
    if (!failure) failure = VcpuRun(context, worker.vcpu, batch).Run();
    if (failure) StopAll();

    lock.lock();
    worker.failure = std::move(failure);
    worker.context = nullptr;
    worker.batch = nullptr;
    changed_.notify_all();
  }
}

void GuestThreads::StopAll() {
  stop_.store(true, std::memory_order_relaxed);
  Kick();
}

void GuestThreads::Kick() {
  const std::lock_guard lock(mutex_);
  for (const auto& worker : workers_) {
    if (worker->context) pthread_kill(worker->thread, Vcpu::KickSignal());
  }
}

void GuestThreads::Join() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  for (const auto& worker : workers_) pthread_join(worker->thread, nullptr);
  workers_.clear();
}

}  // namespace cvmtrace
