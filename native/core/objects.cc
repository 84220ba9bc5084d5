#include "objects.h"

#include <errno.h>

namespace cvmtrace {

int Objects::CheckFree(uint32_t number) const {
  if (number > kMaxNumber) return EINVAL;
  return number < by_number_.size() && by_number_[number] ? EEXIST : 0;
}

void Objects::Add(uint32_t number, std::unique_ptr<Object> object) {
  const std::lock_guard lock(mutex_);
  if (number >= by_number_.size()) by_number_.resize(number + 1);
  by_number_[number] = std::move(object);
  ++count_;
}

void Objects::Remove(uint32_t number) {
  std::unique_ptr<Object> closing;
  const std::lock_guard lock(mutex_);
  closing = std::move(by_number_[number]);
  --count_;
}

void Objects::Clear() {
  std::vector<std::unique_ptr<Object>> closing;
  {
    const std::lock_guard lock(mutex_);
    closing.swap(by_number_);
    count_ = 0;
  }
  // Freed here without the lock: giving back gigabytes takes a while, and a reader is not to wait for it. Memory goes
  // last, after all through which a device could reach it.
  for (std::unique_ptr<Object>& object : closing) {
    if (object && !object->IsMemory()) object.reset();
  }
}

uint32_t Objects::count() const {
  const std::lock_guard lock(mutex_);
  return count_;
}

}  // namespace cvmtrace
