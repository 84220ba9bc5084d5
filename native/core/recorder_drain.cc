#include "recorder_drain.h"

#include <string.h>

#include <algorithm>
#include <utility>

#include "clock.h"

namespace cvmtrace {
namespace {

// How often it is looked at what has ended and what was lost.
constexpr uint64_t kCheckPeriodNs = 100'000'000;

// How far two CPUs may read the clock apart, and a CPU its loads out of order with it.
constexpr uint64_t kClockSlackNs = 1'000;

// A row that began, or ended, so much later than now is nonsense.
constexpr uint64_t kFutureNs = 1'000'000'000;

// PID_MAX_LIMIT of the kernel.
constexpr uint32_t kMaxPid = 1 << 22;

// Slots behind the last one in use that every round looks at.
constexpr uint32_t kSlotsAhead = 64;
constexpr uint32_t kVcpusAhead = 8;

// Records that a round begins with: what it takes is in memory at once.
constexpr size_t kRoundRecords = size_t{1} << 20;

// Records after which a full ring has room again while it is being taken.
constexpr uint64_t kTailStep = 1024;

// 0, for a process that cannot be watched, is what a number that cannot be one becomes.
uint32_t KnownPid(uint32_t pid) { return pid <= kMaxPid ? pid : 0; }

// Counters and marks are rows of the recorder's own.
bool IsTargetsOp(Op op) {
  return static_cast<size_t>(op) < kOpCount && op != Op::mark && op != Op::lost && op != Op::kvm_run &&
         op != Op::exit_other;
}

RecordedRow RowOf(const Record& record, uint32_t pid, uint32_t tid) {
  RecordedRow row{};
  row.ts_ns = record.ts_ns;
  row.dur_ns = record.dur_ns;
  row.gpa = record.gpa;
  row.hva = record.hva;
  row.iova = record.iova;
  row.offset = record.offset;
  row.len = record.len;
  row.attrs = record.attrs;
  row.flags = record.flags;
  row.result = record.result;
  row.obj = record.obj;
  row.pid = pid;
  row.tid = tid;
  row.vcpu = record.vcpu;
  row.error = record.error;
  row.present = static_cast<uint16_t>(record.present | (pid != 0 ? kHasPid : 0) | (tid != 0 ? kHasTid : 0));
  row.op = record.op;
  return row;
}

}  // namespace

RecorderDrain::RecorderDrain(const RecordArea& area, uint64_t clock_base_ns, const DrainOptions& options)
    : area_(area),
      clock_base_ns_(clock_base_ns),
      options_(options),
      is_thread_known_(kThreadSlots),
      is_vcpu_known_(kVcpuSlots),
      own_ns_(clock_base_ns),
      last_sample_ns_(clock_base_ns) {}

bool RecorderDrain::Run(bool last) {
  round_ns_ = NowNs();
  const bool check = last || round_ns_ >= next_check_ns_;
  FindThreads(check);
  FindVcpus(check);
  if (check) {
    next_check_ns_ = round_ns_ + kCheckPeriodNs;
    FindEnded();
  }
  for (const auto& thread : threads_) {
    const ThreadSlot& slot = area_.thread(thread->index);
    // Before the heads: what is ended writes no more.
    thread->ended = thread->gone || slot.state.load(std::memory_order_acquire) != kSlotClaimed;
    thread->open_ns = slot.exit_open_ns.load(std::memory_order_acquire);
    if (thread->open_ns == thread->forced_ns) thread->open_ns = 0;
  }
  // After exit_open_ns: a vCPU that is closed says so before its thread says that it is inside of no exit.
  for (const auto& vcpu : vcpus_) {
    vcpu->ended = vcpu->gone || area_.vcpu(vcpu->index).state.load(std::memory_order_acquire) == kSlotEnded;
  }
  const size_t records = TakeRings(last);

  const bool sample = last || round_ns_ - last_sample_ns_ >= options_.counter_period_ns;
  for (const auto& vcpu : vcpus_) {
    if (last || vcpu->ended) CloseExit(*vcpu);
    if (sample || vcpu->ended) Sample(*vcpu, last || vcpu->ended);
  }
  if (sample) last_sample_ns_ = round_ns_;
  // A vCPU's slot is not used again, so that it stays known.
  std::erase_if(vcpus_, [](const auto& vcpu) { return vcpu->ended; });

  size_t held = 0;
  for (const auto& thread : threads_) {
    if (!thread->taken) continue;
    if (thread->ended) CloseExits(*thread);
    if (thread->held.size() > options_.held_rows) ForceExit(*thread);
    Release(*thread, last || thread->ended ? UINT64_MAX : round_ns_ - kClockSlackNs);
    held += thread->held.size();
    if (held > 2 * options_.held_rows && thread->open_ns != 0) {
      held -= thread->held.size();
      ForceExit(*thread);
      Release(*thread, round_ns_ - kClockSlackNs);
    }
    if (check || thread->ended) CountLosses(*thread);
  }
  if (check) CountAreaLosses();
  totals_.rows += ready_.EndRound();

  std::erase_if(threads_, [this](const auto& thread) {
    const bool over = thread->ended && thread->taken;
    if (over) GiveBack(*thread);
    return over;
  });
  totals_.live_processes = processes_.count();
  return records > area_.ring_records() / 8;
}

void RecorderDrain::Mark(std::string name, uint64_t ts_ns) {
  RecordedRow row{};
  row.op = Op::mark;
  row.ts_ns = own_ns_ = std::clamp(ts_ns, own_ns_, std::max(own_ns_, NowNs()));
  row.text = ready_.KeepText(std::move(name));
  ready_.Add(row);
}

void RecorderDrain::FindThreads(bool all) {
  const uint32_t past = all ? kThreadSlots : std::min(past_threads_ + kSlotsAhead, kThreadSlots);
  for (uint32_t index = 0; index < past; ++index) {
    if (is_thread_known_[index]) continue;
    const ThreadSlot& slot = area_.thread(index);
    const uint32_t state = slot.state.load(std::memory_order_acquire);
    if (state == kSlotFree) continue;
    const uint32_t pid = KnownPid(slot.pid.load(std::memory_order_acquire));
    // Claimed this moment.
    if (state == kSlotClaimed && pid == 0 && slot.head.load(std::memory_order_acquire) == 0) continue;
    auto thread = std::make_unique<Thread>();
    thread->index = index;
    thread->pid = pid;
    thread->tid = KnownPid(slot.tid.load(std::memory_order_acquire));
    thread->found_ns = round_ns_;
    // After execve(2) the program claims a slot of its own for the thread that is left. Of two that are found at once
    // it cannot be told which is the newer.
    for (const auto& other : threads_) {
      if (pid != 0 && other->pid == pid && other->tid == thread->tid && other->found_ns != round_ns_) {
        other->gone = true;
      }
    }
    if (pid != 0) processes_.Add(pid);
    is_thread_known_[index] = true;
    past_threads_ = std::max(past_threads_, index + 1);
    ++totals_.threads;
    threads_.push_back(std::move(thread));
  }
  totals_.processes = area_.header().processes.load(std::memory_order_relaxed);
}

void RecorderDrain::FindVcpus(bool all) {
  const uint32_t past = all ? kVcpuSlots : std::min(past_vcpus_ + kVcpusAhead, kVcpuSlots);
  for (uint32_t index = 0; index < past; ++index) {
    if (is_vcpu_known_[index]) continue;
    const VcpuSlot& slot = area_.vcpu(index);
    // Its number is what the target writes last.
    if (slot.obj.load(std::memory_order_acquire) == 0) continue;
    const uint32_t pid = KnownPid(slot.pid.load(std::memory_order_relaxed));
    if (pid != 0) processes_.Add(pid);
    is_vcpu_known_[index] = true;
    past_vcpus_ = std::max(past_vcpus_, index + 1);
    ++totals_.vcpus;
    vcpus_.push_back(std::make_unique<Vcpu>(Vcpu{index, pid, VcpuCounters(slot)}));
  }
}

void RecorderDrain::FindEnded() {
  for (const uint32_t pid : processes_.TakeEnded()) {
    for (const auto& thread : threads_) thread->gone |= thread->pid == pid;
    for (const auto& vcpu : vcpus_) vcpu->gone |= vcpu->pid == pid;
  }
  for (const auto& thread : threads_) {
    thread->gone |= thread->pid != 0 && !processes_.ThreadLives(thread->pid, thread->tid);
  }
}

size_t RecorderDrain::TakeRings(bool last) {
  size_t records = 0;
  const size_t count = threads_.size();
  const size_t first = first_thread_;
  for (size_t i = 0; i < count; ++i) {
    Thread& thread = *threads_[(first + i) % count];
    thread.taken = last || records < kRoundRecords;
    if (!thread.taken) continue;
    records += TakeRing(thread);
    first_thread_ = (first + i + 1) % count;
  }
  return records;
}

size_t RecorderDrain::TakeRing(Thread& thread) {
  ThreadSlot& slot = area_.thread(thread.index);
  const uint64_t head = slot.head.load(std::memory_order_acquire);
  const uint64_t count = head - thread.tail;
  if (count == 0) return 0;
  if (count <= area_.ring_records()) {
    const Record* const ring = area_.ring(thread.index);
    const uint64_t now_ns = NowNs();
    while (thread.tail != head) {
      // A copy of its own, as what is checked must be what is used.
      Record record;
      memcpy(&record, &ring[thread.tail % area_.ring_records()], sizeof record);
      TakeRecord(thread, record, now_ns);
      if (++thread.tail % kTailStep == 0) slot.tail.store(thread.tail, std::memory_order_release);
    }
  } else {
    // A head that jumped: what is in the ring cannot be told from what was.
    ++totals_.damaged;
    thread.tail = head;
  }
  slot.tail.store(thread.tail, std::memory_order_release);
  return count;
}

void RecorderDrain::TakeRecord(Thread& thread, const Record& record, uint64_t now_ns) {
  const uint64_t latest_ns = now_ns + kFutureNs;
  const bool has_end = (record.present & kHasDur) != 0;
  if (!IsTargetsOp(record.op) || (record.present & ~kRecordPresentBits) != 0 || record.ts_ns < clock_base_ns_ ||
      record.ts_ns > latest_ns || (has_end && record.dur_ns > latest_ns - record.ts_ns)) {
    ++totals_.damaged;
    return;
  }
  if (IsExit(record.op)) {
    thread.last_exit_ns = record.ts_ns;
    if (forced_exits_.erase(record.ts_ns) > 0) return;
  }
  RecordedRow row = RowOf(record, thread.pid, thread.tid);
  if (record.present & kHasText) {
    row.text = ready_.KeepText(std::string(record.text, strnlen(record.text, sizeof record.text)));
  }
  thread.held.push_back(row);
}

void RecorderDrain::Release(Thread& thread, uint64_t before_ns) {
  if (thread.open_ns != 0 && before_ns != UINT64_MAX) before_ns = std::min(before_ns, thread.open_ns);
  // While an exit stays open, what is held stays held, however much it is.
  if (before_ns == thread.released_ns) return;
  thread.released_ns = before_ns;
  std::erase_if(thread.held, [&](const RecordedRow& row) {
    if (row.ts_ns >= before_ns) return false;
    ready_.Add(row);
    thread.last_ns = std::max(thread.last_ns, row.ts_ns);
    return true;
  });
  // The memory of what was held for a long exit.
  if (thread.held.empty() && thread.held.capacity() > kRecordedBatchRows) thread.held.shrink_to_fit();
}

void RecorderDrain::ForceExit(Thread& thread) {
  if (thread.open_ns == 0) return;
  if (thread.open_ns == thread.last_exit_ns) {
    // It ended after this round looked.
    thread.open_ns = 0;
    return;
  }
  const bool found = std::any_of(vcpus_.begin(), vcpus_.end(), [&](const auto& vcpu) {
    return vcpu->pid == thread.pid && CloseExit(*vcpu, thread.open_ns);
  });
  if (!found) ++totals_.damaged;
  ++totals_.long_exits;
  thread.forced_ns = std::exchange(thread.open_ns, 0);
}

void RecorderDrain::CloseExits(Thread& thread) {
  thread.open_ns = 0;
  for (const auto& vcpu : vcpus_) {
    const uint32_t tid = area_.vcpu(vcpu->index).tid.load(std::memory_order_relaxed);
    if (vcpu->pid == thread.pid && tid == thread.tid) CloseExit(*vcpu);
  }
}

void RecorderDrain::GiveBack(const Thread& thread) {
  ThreadSlot& slot = area_.thread(thread.index);
  if (thread.tail > 0) area_.ReleaseRing(thread.index);
  slot.pid.store(0, std::memory_order_relaxed);
  slot.tid.store(0, std::memory_order_relaxed);
  slot.head.store(0, std::memory_order_relaxed);
  slot.dropped.store(0, std::memory_order_relaxed);
  slot.blocked_ns.store(0, std::memory_order_relaxed);
  slot.exit_open_ns.store(0, std::memory_order_relaxed);
  slot.tail.store(0, std::memory_order_relaxed);
  slot.state.store(kSlotFree, std::memory_order_release);
  is_thread_known_[thread.index] = false;
}

bool RecorderDrain::CloseExit(const Vcpu& vcpu, uint64_t ts_ns) {
  const VcpuSlot& slot = area_.vcpu(vcpu.index);
  if (slot.open.load(std::memory_order_acquire) == 0) return false;
  Record exit;
  memcpy(&exit, &slot.exit, sizeof exit);
  // Its thread may have ended it meanwhile, and begun another.
  std::atomic_thread_fence(std::memory_order_acquire);
  if (slot.open.load(std::memory_order_relaxed) == 0 || (ts_ns != 0 && exit.ts_ns != ts_ns)) return false;
  if (!IsExit(exit.op) || (exit.present & ~kRecordPresentBits) != 0 || exit.ts_ns < clock_base_ns_ ||
      exit.ts_ns > round_ns_ + kFutureNs) {
    ++totals_.damaged;
    return false;
  }
  // One that was killed between its row and `open` has its end.
  const bool written = std::any_of(threads_.begin(), threads_.end(), [&](const auto& thread) {
    return thread->pid == vcpu.pid && thread->last_exit_ns == exit.ts_ns;
  });
  if (written || !forced_exits_.insert(exit.ts_ns).second) return false;
  RecordedRow row = RowOf(exit, vcpu.pid, KnownPid(slot.tid.load(std::memory_order_relaxed)));
  row.dur_ns = 0;
  row.result = 0;
  row.present &= static_cast<uint16_t>(~(kHasDur | kHasResult | kHasText));
  ready_.Add(row);
  return true;
}

void RecorderDrain::Sample(Vcpu& vcpu, bool last) {
  const VcpuSlot& slot = area_.vcpu(vcpu.index);
  // A thread that ended inside of KVM_RUN, by execve(2) or a signal, does not clear entered_ns. Of a process that was
  // killed the stay counts up to now.
  const bool running =
      vcpu.gone || vcpu.pid == 0 || processes_.ThreadLives(vcpu.pid, slot.tid.load(std::memory_order_relaxed));
  totals_.damaged +=
      vcpu.counters.Sample(last_sample_ns_, round_ns_, running, last, [&](RecordedRow row, const char* detail) {
        if (*detail != 0) row.text = ready_.KeepText(detail);
        ready_.Add(row);
      });
}

void RecorderDrain::CountLosses(Thread& thread) {
  const ThreadSlot& slot = area_.thread(thread.index);
  // A counter that goes backwards is as good as 0.
  const auto growth = [](const std::atomic<uint64_t>& counter, uint64_t& before) {
    const uint64_t now = counter.load(std::memory_order_relaxed);
    const uint64_t grown = now - std::exchange(before, now);
    return grown <= INT64_MAX ? grown : 0;
  };
  totals_.blocked_ns += growth(slot.blocked_ns, thread.blocked_ns);
  const uint64_t dropped = growth(slot.dropped, thread.dropped);
  totals_.dropped += dropped;
  AddLost("ring full", dropped, &thread);
}

void RecorderDrain::CountAreaLosses() {
  const RecordAreaHeader& header = area_.header();
  const auto count = [&](const std::atomic<uint64_t>& counter, uint64_t& total, const char* what) {
    const uint64_t now = counter.load(std::memory_order_relaxed);
    if (now <= total || now > INT64_MAX) return;
    AddLost(what, now - total);
    total = now;
  };
  count(header.dropped_without_slot, totals_.dropped_without_slot, "too many threads");
  count(header.unreadable, totals_.unreadable, "unreadable");
  AddLost("damaged", totals_.damaged - std::exchange(told_damaged_, totals_.damaged));
}

void RecorderDrain::AddLost(const char* what, uint64_t count, const Thread* thread) {
  if (count == 0) return;
  RecordedRow row{};
  row.op = Op::lost;
  row.len = count;
  row.present = kHasLen;
  if (thread && thread->last_ns != 0) {
    // Behind the thread's last row, and not later than its next.
    row.ts_ns = thread->last_ns;
    row.pid = thread->pid;
    row.tid = thread->tid;
    if (row.pid != 0) row.present |= kHasPid | kHasTid;
  } else {
    row.ts_ns = own_ns_ = std::max(own_ns_, round_ns_);
  }
  row.text = ready_.KeepText(what);
  ready_.Add(row);
}

}  // namespace cvmtrace
