// Pages held for as long as a driver holds them for DMA, by a kernel with CONFIG_GUP_TEST (mm/gup_test.c). There is one
// hold at a time in all the kernel: EINVAL while there is another.
#include <fcntl.h>
#include <sys/ioctl.h>

#include "backing.h"
#include "handlers.h"

namespace cvmtrace {
namespace {

struct PinLongtermTest {
  uint64_t addr;
  uint64_t size;
  uint32_t flags;  // 1 write, 2 fast
};
static_assert(sizeof(PinLongtermTest) == 24);
constexpr unsigned long kPinLongtermTestStart = _IOW('g', 7, PinLongtermTest);
constexpr unsigned long kPinLongtermTestStop = _IO('g', 8);

void Hold(OpRun& run) {
  if (!run.Has(present::obj | present::len)) return run.Skip(EINVAL);
  if (const int error = run.objects().CheckFree(run.obj())) return run.Skip(error);
  const Backing backing = FindBacking(run);
  if (backing.error) return run.Skip(backing.error);
  ScopedFd fd(::open("/sys/kernel/debug/gup_test", O_RDWR | O_CLOEXEC));
  if (!fd) return run.Skip(errno);
  run.SetHva(backing.hva);
  PinLongtermTest pin = {backing.hva, run.len(), static_cast<uint32_t>(run.flags())};
  if (!run.Time([&] { return ::ioctl(fd.get(), kPinLongtermTestStart, &pin); })) return;
  run.objects().Add(run.obj(), std::make_unique<Object>(Object{ObjectKind::kGupHold, std::move(fd), {}}));
}

void Release(OpRun& run) {
  if (!run.Has(present::obj)) return run.Skip(EINVAL);
  const Object* const hold = run.Find(run.obj(), ObjectKind::kGupHold);
  if (!hold) return run.Skip(EBADF);
  if (run.Time([&] { return ::ioctl(hold->fd.get(), kPinLongtermTestStop); })) run.Remove(run.obj());
}

}  // namespace

void RegisterGupOps(HandlerTable& table) {
  table[Op::gup_hold] = Hold;
  table[Op::gup_release] = Release;
}

}  // namespace cvmtrace
