#include "vcpu_run.h"

#include <linux/kvm_para.h>
#include <sys/mman.h>

#include "../core/clock.h"
#include "../core/kvm_abi.h"
#include "area.h"
#include "raw_call.h"
#include "recognise.h"
#include "row.h"

namespace cvmtrace::preload {
namespace {

// Object::run_state.
enum RunState : uint32_t { kNew = 0, kPreparing = 1, kCounted = 2, kNotCounted = 3 };

constexpr size_t kRunPageBytes = 4096;

// One writer: the thread that runs the vCPU, and KVM lets only one.
void Add(std::atomic<uint64_t>& counter, uint64_t amount) {
  counter.store(counter.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
}

VcpuSlot* ClaimSlot() {
  for (uint32_t index = 0; index < kVcpuSlots; ++index) {
    uint32_t free = kSlotFree;
    if (area.vcpu_slots[index].state.load(std::memory_order_relaxed) != kSlotFree) continue;
    if (area.vcpu_slots[index].state.compare_exchange_strong(free, kSlotClaimed)) return &area.vcpu_slots[index];
  }
  return nullptr;
}

// The run page is mapped once more: whether and where the target has it does not matter then.
bool Prepare(int fd, Object& vcpu) {
  const long page = RawCall(SYS_mmap, 0, kRunPageBytes, PROT_READ, MAP_SHARED, fd, 0);
  if (IsError(page)) return false;
  VcpuSlot* const slot = ClaimSlot();
  if (!slot) {
    RawCall(SYS_munmap, page, kRunPageBytes);
    area.header->dropped_without_slot.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  slot->pid.store(static_cast<uint32_t>(area.pid.load(std::memory_order_relaxed)), std::memory_order_relaxed);
  slot->vcpu.store(vcpu.index, std::memory_order_relaxed);
  slot->vm.store(vcpu.owner, std::memory_order_relaxed);
  // The recorder takes a slot for a vCPU's once it has a number.
  slot->obj.store(vcpu.number, std::memory_order_release);
  vcpu.run = reinterpret_cast<const kvm_run*>(page);
  vcpu.slot = slot;
  return true;
}

bool IsCounted(int fd, Object& vcpu) {
  uint32_t state = vcpu.run_state.load(std::memory_order_acquire);
  if (state == kCounted) [[likely]]
    return true;
  if (state != kNew || !vcpu.run_state.compare_exchange_strong(state, kPreparing)) return false;
  const bool counted = Prepare(fd, vcpu);
  vcpu.run_state.store(counted ? kCounted : kNotCounted, std::memory_order_release);
  return counted;
}

// The thread that had the exit has one less to answer. Rows of its later calls may be given to the trace once none is
// open: they wait until then, as they began after it.
void LeaveExit(Object& vcpu) {
  ThreadSlot* const slot = vcpu.exit_thread;
  vcpu.exit_thread = nullptr;
  if (slot && slot == OwnSlot()) {
    thread.exit_vcpu = 0;
    if (thread.open_exits && --thread.open_exits == 0) slot->exit_open_ns.store(0, std::memory_order_release);
    return;
  }
  // Another thread took the vCPU over. If the first had several vCPUs' exits, those lose their place before its calls.
  if (slot && slot->tid.load(std::memory_order_relaxed) == vcpu.exit_tid) {
    slot->exit_open_ns.store(0, std::memory_order_release);
  }
}

// The guest runs again at `now`. A recorder that reads in between finds the exit twice, or a target that is killed
// leaves it so: as a row, and open with the same ts_ns.
void FinishExit(Object& vcpu, uint64_t now) {
  VcpuSlot& slot = *vcpu.slot;
  Record exit = slot.exit;
  exit.dur_ns = now - exit.ts_ns;
  exit.present |= kHasDur;
  if (exit.op == Op::exit_map_gpa_range) {
    exit.result = static_cast<int64_t>(vcpu.run->hypercall.ret);
    exit.present |= kHasResult;
  }
  WriteRecord(exit);
  LeaveExit(vcpu);
  slot.open.store(0, std::memory_order_release);
}

void OpenExit(Object& vcpu, Row& row) {
  VcpuSlot& slot = *vcpu.slot;
  row.NoDuration();
  row.NoResult();
  row.Obj(vcpu.owner);
  row.Vcpu(vcpu.index);
  slot.exit = row.record();
  if (ThreadSlot* const own = OwnSlot()) {
    vcpu.exit_thread = own;
    vcpu.exit_tid = own->tid.load(std::memory_order_relaxed);
    thread.exit_vcpu = vcpu.index + 1;
    // The earliest counts.
    if (thread.open_exits++ == 0) own->exit_open_ns.store(row.record().ts_ns, std::memory_order_seq_cst);
  }
  slot.open.store(1, std::memory_order_release);
}

void Count(VcpuSlot& slot, uint32_t reason) {
  slot.last_reason.store(reason, std::memory_order_relaxed);
  Add(slot.count[reason], 1);
}

// What KVM_RUN returned with, `returned` at `now`.
void TakeExit(Object& vcpu, long returned, uint64_t now) {
  VcpuSlot& slot = *vcpu.slot;
  const kvm_run& run = *vcpu.run;
  const uint32_t reason = run.exit_reason;
  // After any other errno the page says what was before.
  if (IsError(returned) && !((returned == -EFAULT || returned == -EHWPOISON) && reason == KVM_EXIT_MEMORY_FAULT)) {
    return Count(slot, kExitFailed);
  }
  if (reason == KVM_EXIT_MEMORY_FAULT) {
    const KvmMemoryFault fault = MemoryFaultOf(run);
    Row row(Op::exit_memory_fault, now, now, 0);
    row.Gpa(fault.gpa);
    row.Len(fault.size);
    row.Flags(fault.flags);
    return OpenExit(vcpu, row);
  }
  if (reason == KVM_EXIT_HYPERCALL && run.hypercall.nr == KVM_HC_MAP_GPA_RANGE) {
    constexpr uint64_t kPageBytes = 4096;
    Row row(Op::exit_map_gpa_range, now, now, 0);
    row.Gpa(run.hypercall.args[0]);
    row.Len(run.hypercall.args[1] * kPageBytes);
    row.Attrs(run.hypercall.args[2]);
    return OpenExit(vcpu, row);
  }
  Count(slot, reason < kExitReasons ? reason : kExitOther);
}

}  // namespace

// A signal's handler that leaves KVM_RUN by siglongjmp() is as if the call had not been: its time is not counted.
long RunVcpu(int fd, uintptr_t argument) {
  const auto run = [&] { return RawCall(SYS_ioctl, fd, KVM_RUN, argument); };
  const Entry entry = Lookup(fd);
  Object* const vcpu = entry.object();
  if (entry.kind() != Kind::kVcpu || !vcpu || !IsCounted(fd, *vcpu)) [[unlikely]] {
    const long returned = run();
    if (returned == 0 && entry.kind() != Kind::kVcpu) RecogniseAgain(fd);
    return returned;
  }
  VcpuSlot& slot = *vcpu->slot;
  const uint64_t entered = NowNs();
  if (slot.open.load(std::memory_order_relaxed)) {
    FinishExit(*vcpu, entered);
  } else if (const uint64_t left = slot.returned_ns.load(std::memory_order_relaxed)) {
    Add(slot.out_ns[slot.last_reason.load(std::memory_order_relaxed) % 64], entered - left);
  }
  slot.returned_ns.store(0, std::memory_order_relaxed);
  if (ThreadSlot* const own = OwnSlot()) {
    slot.tid.store(own->tid.load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
  slot.entered_ns.store(entered, std::memory_order_release);
  const long returned = run();
  const uint64_t now = NowNs();
  slot.entered_ns.store(0, std::memory_order_relaxed);
  Add(slot.run_ns, now - entered);
  Add(slot.runs, 1);
  TakeExit(*vcpu, returned, now);
  slot.returned_ns.store(now, std::memory_order_release);
  if (returned == -EBADF || returned == -ENOTTY) RecogniseAgain(fd);
  return returned;
}

void EndVcpu(Object& vcpu) {
  if (vcpu.run_state.load(std::memory_order_acquire) != kCounted) return;
  vcpu.run_state.store(kNotCounted, std::memory_order_relaxed);
  // An exit that is open has no end any more: the recorder writes it without duration, and has to see that before it
  // sees that the thread is inside of none.
  vcpu.slot->state.store(kSlotEnded, std::memory_order_release);
  LeaveExit(vcpu);
  RawCall(SYS_munmap, vcpu.run, kRunPageBytes);
}

void ForgetVcpusOfParent() {
  const uint32_t end = ObjectsEnd();
  for (uint32_t position = 1; position < end; ++position) {
    Object& object = ObjectAt(position);
    if (object.kind != Kind::kVcpu) continue;
    object.run_state.store(kNew, std::memory_order_relaxed);
    object.exit_thread = nullptr;
  }
}

}  // namespace cvmtrace::preload
