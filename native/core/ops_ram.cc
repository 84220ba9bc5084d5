// Operations on host memory: memfd or anonymous, as the shared side of a guest, or as a stand-in for its private side.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>

#include "handlers.h"
#include "ram.h"
#include "touch.h"

namespace cvmtrace {
namespace {

void Create(OpRun& run) {
  if (!run.Has(present::obj | present::len)) return run.Skip(EINVAL);
  if (const int error = run.objects().CheckFree(run.obj())) return run.Skip(error);
  std::unique_ptr<Object> ram;
  const bool created = run.Time([&] {
    auto made = CreateRam(run.len(), run.flags());
    if (!made) {
      errno = made.error().code;
      return -1;
    }
    ram = std::move(made).value();
    return 0;
  });
  if (!created) return;
  run.SetHva(ram->map.address());
  run.objects().Add(run.obj(), std::move(ram));
}

Object* FindRange(OpRun& run) {
  if (!run.Has(present::obj | present::offset | present::len)) {
    run.Skip(EINVAL);
    return nullptr;
  }
  Object* const ram = run.Find(run.obj(), ObjectKind::kRam);
  if (!ram) {
    run.Skip(EBADF);
    return nullptr;
  }
  if (!ram->Contains(run.offset(), run.len())) {
    run.Skip(EINVAL);
    return nullptr;
  }
  return ram;
}

// EBADF for anonymous memory, which has no file.
template <int kMode>
void Fallocate(OpRun& run) {
  if (const Object* const ram = FindRange(run)) {
    run.Time([&] {
      return ::fallocate(ram->fd.get(), kMode, static_cast<off_t>(run.offset()), static_cast<off_t>(run.len()));
    });
  }
}

void Madvise(OpRun& run) {
  if (!run.Has(present::flags)) return run.Skip(EINVAL);
  const Object* const ram = FindRange(run);
  if (!ram) return;
  char* const address = ram->map.data() + run.offset();
  run.Time([&] { return ::madvise(address, run.len(), static_cast<int>(run.flags())); });
}

void Touch(OpRun& run) {
  if (const Object* const ram = FindRange(run)) TimeTouch(run, ram->map);
}

}  // namespace

void RegisterRamOps(HandlerTable& table) {
  table[Op::ram_create] = Create;
  table[Op::ram_allocate] = Fallocate<FALLOC_FL_KEEP_SIZE>;
  table[Op::ram_punch_hole] = Fallocate<FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE>;
  table[Op::ram_madvise] = Madvise;
  table[Op::ram_touch] = Touch;
}

}  // namespace cvmtrace
