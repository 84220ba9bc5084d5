// Columns in one allocation of the core, as typed arrays over one ArrayBuffer.
#pragma once

#include <napi.h>
#include <stdlib.h>

namespace cvmtrace {

// Takes the allocation over: the collector frees it with the last of the arrays.
class Block {
 public:
  template <typename BatchOfColumns>
  Block(Napi::Env env, BatchOfColumns& batch) : env_(env), base_(batch.block()) {
    const size_t size = batch.block_size();
    if (size == 0) {
      buffer_ = Napi::ArrayBuffer::New(env, size_t{0});
    } else {
      buffer_ =
          Napi::ArrayBuffer::New(env, batch.release_block(), size, [](Napi::BasicEnv, void* data) { free(data); });
    }
  }

  // `data` is in the block.
  template <typename T>
  Napi::Value Array(const T* data, size_t count) {
    const auto offset = static_cast<size_t>(reinterpret_cast<const char*>(data) - base_);
    return Napi::TypedArrayOf<T>::New(env_, count, buffer_, buffer_.ByteLength() == 0 ? 0 : offset);
  }

 private:
  Napi::Env env_;
  const char* base_;
  Napi::ArrayBuffer buffer_;
};

}  // namespace cvmtrace
