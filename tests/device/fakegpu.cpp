// A pretend accelerator for PyTorch's CPU build: device "fakegpu" behind the PrivateUse1 key.
//
// Memory. A device is one memfd that is mapped twice: at the address that tensors carry
// (PROT_NONE: any read or write by host code dies with SIGSEGV, as a CUDA pointer would), and,
// `shift` bytes away, where the "kernels" see it. Fresh memory is poisoned with 0xFF (NaN).
//
// Kernels. One boxed fallback checks the arguments as CUDA would, gives the CPU kernel tensors
// that alias device memory, and moves what is new to the device. The arithmetic is therefore that
// of the CPU, bit for bit: a result that differs comes from a path that differs.
//
// Checks (each raises RuntimeError or NotImplementedError with CUDA's own words where they exist):
//   tensors of two devices in one operation, but for 0-dim CPU tensors where CUDA takes them and
//   CPU indices of a device tensor; results on the CPU from device arguments; generators of another
//   device; operations without a CUDA kernel (the list comes from torchgen, see __init__.py);
//   integer products; lstsq drivers; memory beyond FAKEGPU_BYTES (OutOfMemoryError).
//
// Counts. Kernels by name, copies with bytes, and what makes the host wait ("syncs"); a Python
// function may be told of every sync.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/InferSize.h>
#include <ATen/TensorUtils.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_local_scalar_dense_native.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <ATen/ATen.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/utils/pybind.h>
#include <torch/library.h>

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>
#include <unordered_set>

namespace py = pybind11;
using c10::Device;
using c10::DeviceIndex;
using c10::DispatchKey;
using c10::DispatchKeySet;

namespace {

constexpr auto TYPE = c10::DeviceType::PrivateUse1;

// ------------------------------------------------------------------------------- settings

int64_t from_environment(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  return text && *text ? std::atoll(text) : otherwise;
}

const int COUNT = from_environment("FAKEGPU_DEVICES", 2);
const size_t BYTES = from_environment("FAKEGPU_BYTES", int64_t(12) << 30);
const bool POISON = from_environment("FAKEGPU_POISON", 1);

// ------------------------------------------------------------------------------- counts

std::mutex counting;
std::map<std::string, int64_t> kernels, syncs, problems;
int64_t to_device = 0, to_device_bytes = 0, to_host = 0, to_host_bytes = 0;
std::set<std::string> without_cuda, random_order;
py::object* on_sync = nullptr;
py::object* on_kernel = nullptr;

void tell(py::object* whom, const std::string& what) {
  if (!whom) return;
  py::gil_scoped_acquire lock;
  (*whom)(what);
}

void kernel(const std::string& name) {
  {
    std::lock_guard<std::mutex> guard(counting);
    kernels[name]++;
  }
  tell(on_kernel, name);
}

void sync(const std::string& name) {
  {
    std::lock_guard<std::mutex> guard(counting);
    syncs[name]++;
  }
  tell(on_sync, name);
}

// ------------------------------------------------------------------------------- memory

struct Arena {
  char* base = nullptr;
  ptrdiff_t shift = 0;
  size_t used = 0, live = 0, peak = 0;
  std::map<size_t, std::vector<char*>> free;
  std::unordered_map<char*, size_t> sizes;
  std::mutex mutex;

  void open() {
    if (base) return;
    int file = memfd_create("fakegpu", 0);
    TORCH_CHECK(file >= 0 && ftruncate(file, BYTES) == 0, "fakegpu: no memory file");
    base = (char*)mmap(nullptr, BYTES, PROT_NONE, MAP_SHARED | MAP_NORESERVE, file, 0);
    auto host = (char*)mmap(nullptr, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
    TORCH_CHECK(base != MAP_FAILED && host != MAP_FAILED, "fakegpu: no memory map");
    close(file);
    shift = host - base;
  }

  static size_t rounded(size_t n) {
    size_t grain = 512;
    while (grain * 8 < n) grain *= 2;
    return (n + grain - 1) / grain * grain;
  }

  char* take(size_t n, int device) {
    std::lock_guard<std::mutex> guard(mutex);
    open();
    size_t size = rounded(n);
    char* place = nullptr;
    auto& list = free[size];
    if (!list.empty()) {
      place = list.back();
      list.pop_back();
    } else {
      TORCH_CHECK_WITH(
          OutOfMemoryError, used + size <= BYTES, "CUDA out of memory (fakegpu:", device,
          "). Tried to allocate ", n, " bytes; ", live, " of ", BYTES, " bytes are in use.");
      place = base + used;
      used += size;
    }
    sizes[place] = size;
    live += size;
    peak = std::max(peak, live);
    if (POISON) std::memset(place + shift, 0xFF, n);
    return place;
  }

  void give(char* place) {
    std::lock_guard<std::mutex> guard(mutex);
    size_t size = sizes[place];
    sizes.erase(place);
    live -= size;
    free[size].push_back(place);
  }

  bool holds(const void* p) const { return base && p >= base && p < base + BYTES; }
};

Arena arenas[16];

int device_of(const void* p) {
  for (int i = 0; i < COUNT; i++)
    if (arenas[i].holds(p)) return i;
  return -1;
}

void* host(const void* p) {
  if (!p) return nullptr;
  int i = device_of(p);
  TORCH_CHECK(i >= 0, "fakegpu: not an address of a device");
  return (char*)p + arenas[i].shift;
}

thread_local DeviceIndex current = 0;

struct Allocator final : c10::Allocator {
  static void give(void* p) {
    int i = device_of(p);
    if (i >= 0) arenas[i].give((char*)p);
  }
  c10::DataPtr allocate(size_t n) override { return at(n, current); }
  c10::DataPtr at(size_t n, DeviceIndex i) {
    Device where(TYPE, i);
    if (n == 0) return {nullptr, nullptr, &give, where};
    void* p = arenas[i].take(n, i);
    return {p, p, &give, where};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give; }
  void copy_data(void* to, const void* from, size_t n) const override {
    std::memcpy(host(to), host(from), n);
  }
};

Allocator allocator;
REGISTER_ALLOCATOR(TYPE, &allocator);

std::mutex pinning;
std::map<const char*, size_t> pinned;

struct Pinned final : c10::Allocator {
  static void give(void* p) {
    std::lock_guard<std::mutex> guard(pinning);
    pinned.erase((const char*)p);
    std::free(p);
  }
  c10::DataPtr allocate(size_t n) override {
    void* p = nullptr;
    TORCH_CHECK(posix_memalign(&p, 64, std::max<size_t>(n, 1)) == 0, "fakegpu: no memory to pin");
    std::lock_guard<std::mutex> guard(pinning);
    pinned[(const char*)p] = std::max<size_t>(n, 1);
    return {p, p, &give, Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give; }
  void copy_data(void* to, const void* from, size_t n) const override { std::memcpy(to, from, n); }
};

Pinned pinned_allocator;

bool is_pinned(const void* p) {
  std::lock_guard<std::mutex> guard(pinning);
  auto next = pinned.upper_bound((const char*)p);
  if (next == pinned.begin()) return false;
  --next;
  return p < next->first + next->second;
}

// ------------------------------------------------------------------------------- generators

// Numbers of a device generator are another stream than the CPU's from the same seed, as on CUDA.
struct DeviceGenerator final : at::CPUGeneratorImpl {
  explicit DeviceGenerator(DeviceIndex i) : CPUGeneratorImpl(c10::default_rng_seed_val) {
    device_ = Device(TYPE, i);
    key_set_ = DispatchKeySet(DispatchKey::PrivateUse1);
    set_current_seed(c10::default_rng_seed_val);
  }
  void set_current_seed(uint64_t seed) override {
    seed_ = seed;
    CPUGeneratorImpl::set_current_seed(seed ^ 0x9E3779B97F4A7C15ull);
  }
  uint64_t current_seed() const override { return seed_; }
  uint64_t seed_ = 0;
};

at::Generator& default_generator(DeviceIndex i) {
  static std::vector<at::Generator> all = [] {
    std::vector<at::Generator> made;
    for (int k = 0; k < COUNT; k++) made.push_back(at::make_generator<DeviceGenerator>(k));
    return made;
  }();
  return all.at(i < 0 ? current : i);
}

// CPU kernels insist on a generator whose device is the CPU: one that draws from another.
struct Lent final : at::CPUGeneratorImpl {
  explicit Lent(at::Generator from) : from_(std::move(from)) {
    set_state(*from_.unsafeGetGeneratorImpl()->get_state());
  }
  ~Lent() override { from_.unsafeGetGeneratorImpl()->set_state(*get_state()); }
  at::Generator from_;
};

// ------------------------------------------------------------------------------- hooks, guard

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  void init() const override {}
  DeviceIndex deviceCount() const override { return COUNT; }
  void setCurrentDevice(DeviceIndex i) const override { current = i; }
  DeviceIndex getCurrentDevice() const override { return current; }
  DeviceIndex exchangeDevice(DeviceIndex i) const override { return std::exchange(current, i); }
  DeviceIndex maybeExchangeDevice(DeviceIndex i) const override {
    return std::exchange(current, i < 0 ? current : i);
  }
  const at::Generator& getDefaultGenerator(DeviceIndex i) const override {
    return default_generator(i);
  }
  at::Generator getNewGenerator(DeviceIndex i) const override {
    return at::make_generator<DeviceGenerator>(i < 0 ? current : i);
  }
  Device getDeviceFromPtr(void* p) const override { return Device(TYPE, device_of(p)); }
  bool isPinnedPtr(const void* p) const override { return is_pinned(p); }
  c10::Allocator* getPinnedMemoryAllocator() const override { return &pinned_allocator; }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t n) const override {
    auto* impl = storage.unsafeGetStorageImpl();
    auto fresh = allocator.at(n, storage.device().index());
    size_t keep = std::min(n, storage.nbytes());
    if (keep) std::memcpy(host(fresh.get()), host(storage.data()), keep);
    impl->set_data_ptr_noswap(std::move(fresh));
    impl->set_nbytes(n);
  }
};

struct Guard final : c10::impl::DeviceGuardImplInterface {
  static thread_local std::map<DeviceIndex, c10::StreamId> streams;
  static std::atomic<c10::StreamId> last;

  c10::DeviceType type() const override { return TYPE; }
  Device exchangeDevice(Device d) const override {
    check(d);
    return Device(TYPE, std::exchange(current, d.index() < 0 ? current : d.index()));
  }
  Device getDevice() const override { return Device(TYPE, current); }
  void setDevice(Device d) const override {
    check(d);
    if (d.index() >= 0) current = d.index();
  }
  void uncheckedSetDevice(Device d) const noexcept override {
    if (d.index() >= 0) current = d.index();
  }
  void check(Device d) const {
    TORCH_CHECK(d.type() == TYPE && d.index() < COUNT, "CUDA error: invalid device ordinal (", d, ")");
  }
  c10::Stream getStream(Device d) const override {
    DeviceIndex i = d.index() < 0 ? current : d.index();
    auto found = streams.find(i);
    return c10::Stream(c10::Stream::UNSAFE, Device(TYPE, i), found == streams.end() ? 0 : found->second);
  }
  c10::Stream getDefaultStream(Device d) const override {
    return c10::Stream(c10::Stream::UNSAFE, Device(TYPE, d.index() < 0 ? current : d.index()), 0);
  }
  c10::Stream getNewStream(Device d, int) const override {
    return c10::Stream(c10::Stream::UNSAFE, Device(TYPE, d.index() < 0 ? current : d.index()), ++last);
  }
  c10::Stream getStreamFromGlobalPool(Device d, bool) const override { return getNewStream(d, 0); }
  c10::Stream exchangeStream(c10::Stream s) const override {
    auto before = getStream(s.device());
    streams[s.device_index()] = s.id();
    return before;
  }
  DeviceIndex deviceCount() const noexcept override { return COUNT; }
  void destroyEvent(void*, const DeviceIndex) const noexcept override {}
  void record(void** event, const c10::Stream&, const DeviceIndex, const c10::EventFlag) const override {
    *event = (void*)1;
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override { sync("synchronize"); }
  void synchronizeEvent(void*) const override { sync("synchronize"); }
  void synchronizeDevice(const DeviceIndex) const override { sync("synchronize"); }
  void recordDataPtrOnStream(const c10::DataPtr&, const c10::Stream&) const override {}
};

thread_local std::map<DeviceIndex, c10::StreamId> Guard::streams;
std::atomic<c10::StreamId> Guard::last{0};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

// ------------------------------------------------------------------------------- aliases

bool ours(const at::Tensor& t) { return t.defined() && t.device().type() == TYPE; }

// Views of device memory for CPU kernels; tensors that share a storage still share one.
struct Aliases {
  std::unordered_map<c10::StorageImpl*, c10::Storage> storages;

  at::Tensor of(const at::Tensor& t) {
    if (!ours(t)) return t;
    auto* key = t.storage().unsafeGetStorageImpl();
    auto found = storages.find(key);
    if (found == storages.end()) {
      c10::DataPtr data(host(t.storage().data()), Device(c10::kCPU));
      c10::Storage made(
          c10::Storage::use_byte_size_t(), t.storage().nbytes(), std::move(data),
          c10::GetAllocator(c10::kCPU), /*resizable=*/true);
      found = storages.emplace(key, std::move(made)).first;
    }
    auto alias = at::detail::make_tensor<c10::TensorImpl>(
        c10::Storage(found->second), DispatchKeySet(DispatchKey::CPU), t.dtype());
    alias.unsafeGetTensorImpl()->set_sizes_and_strides(t.sizes(), t.strides(), t.storage_offset());
    if (t.unsafeGetTensorImpl()->is_wrapped_number())
      alias.unsafeGetTensorImpl()->set_wrapped_number(true);
    if (t.is_conj()) alias._set_conj(true);
    if (t.is_neg()) alias._set_neg(true);
    return alias;
  }
};

at::Tensor moved(const at::Tensor& t, Device where) {
  if (!t.defined() || ours(t)) return t;
  auto out = at::empty_strided(t.sizes(), t.strides(), t.options().device(where).pinned_memory(false));
  if (t.numel()) {
    Aliases aliases;
    aliases.of(out).copy_(t);
  }
  return out;
}

// What a kernel did to the size or place of an argument it writes to.
void follow(const at::Tensor& device, const at::Tensor& alias) {
  auto* impl = device.unsafeGetTensorImpl();
  bool elsewhere = alias.storage().data() != host(device.storage().data());
  if (elsewhere && alias.storage().nbytes()) {
    Hooks hooks;
    if (device.storage().nbytes() < alias.storage().nbytes())
      hooks.resizePrivateUse1Bytes(device.storage(), alias.storage().nbytes());
    std::memcpy(host(device.storage().data()), alias.storage().data(), alias.storage().nbytes());
  }
  if (alias.sizes() != device.sizes() || alias.strides() != device.strides())
    impl->set_sizes_and_strides(alias.sizes(), alias.strides(), alias.storage_offset());
}

// ------------------------------------------------------------------------------- the rules

// Where CUDA wants even 0-dim tensors to be on the device.
const std::unordered_set<std::string> STRICT = {
    "aten::index_select", "aten::gather", "aten::scatter", "aten::scatter_", "aten::scatter_add",
    "aten::scatter_add_", "aten::index_add", "aten::index_add_", "aten::index_copy",
    "aten::index_copy_", "aten::take", "aten::embedding", "aten::nll_loss_forward",
    "aten::nll_loss2d_forward", "aten::addmm", "aten::mm", "aten::bmm", "aten::baddbmm",
    "aten::addmv", "aten::dot", "aten::cat", "aten::convolution", "aten::native_batch_norm",
    "aten::native_layer_norm", "aten::masked_scatter", "aten::masked_scatter_", "aten::equal"};

// Indices may stay on the CPU, or stand for a wait because of how many values they find.
const std::unordered_set<std::string> INDEXING = {
    "aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_",
    "aten::_unsafe_index", "aten::_unsafe_index_put"};

const std::unordered_set<std::string> HOST_LENGTHS = {
    "aten::_pack_padded_sequence", "aten::_ctc_loss", "aten::_ctc_loss_backward"};

const std::unordered_set<std::string> WAITING = {
    "aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::unique_dim",
    "aten::unique_consecutive", "aten::_unique", "aten::unique_dim_consecutive", "aten::bincount",
    "aten::equal", "aten::histc", "aten::linalg_eigh", "aten::_linalg_eigh", "aten::_linalg_svd",
    "aten::is_nonzero", "aten::multinomial", "aten::repeat_interleave"};

const std::unordered_set<std::string> PRODUCTS = {
    "aten::mm", "aten::addmm", "aten::addmm_", "aten::bmm", "aten::baddbmm", "aten::baddbmm_",
    "aten::addmv", "aten::addmv_", "aten::mv", "aten::dot", "aten::vdot", "aten::convolution_overrideable",
    "aten::_convolution", "aten::convolution", "aten::slow_conv3d_forward", "aten::thnn_conv2d",
    "aten::_slow_conv2d_forward", "aten::addbmm", "aten::cdist", "aten::_cdist_forward"};

struct Found {
  at::Tensor tensor;
  size_t argument;
  bool written;
};

std::vector<Found> tensors_of(const c10::FunctionSchema& schema, c10::ArrayRef<c10::IValue> values) {
  std::vector<Found> found;
  for (size_t i = 0; i < values.size(); i++) {
    auto* alias = schema.arguments()[i].alias_info();
    bool written = alias && alias->isWrite();
    const auto& value = values[i];
    if (value.isTensor()) {
      if (value.toTensor().defined()) found.push_back({value.toTensor(), i, written});
    } else if (value.isTensorList()) {
      for (const auto& t : value.toTensorVector())
        if (t.defined()) found.push_back({t, i, written});
    } else if (value.isOptionalTensorList()) {
      for (const auto& t : value.toOptionalTensorVector())
        if (t.has_value() && t->defined()) found.push_back({*t, i, written});
    } else if (value.isList()) {
      for (const auto& one : value.toListRef())
        if (one.isTensor() && one.toTensor().defined())
          found.push_back({one.toTensor(), i, written});
    }
  }
  return found;
}

void problem(const std::string& what) {
  std::lock_guard<std::mutex> guard(counting);
  problems[what]++;
}

std::optional<Device> checked(
    const c10::FunctionSchema& schema, const std::vector<Found>& found,
    c10::ArrayRef<c10::IValue> values) {
  const auto& name = schema.name();
  std::optional<Device> where;
  for (const auto& one : found)
    if (ours(one.tensor)) {
      if (!where) where = one.tensor.device();
      if (one.tensor.device() != *where) {
        problem(name + ": two devices");
        TORCH_CHECK(
            false, "Expected all tensors to be on the same device, but found at least two devices, ",
            *where, " and ", one.tensor.device(), "! (", name, ")");
      }
    }
  for (const auto& value : values)
    if (value.isDevice() && value.toDevice().type() == TYPE && !where) where = value.toDevice();
  if (where && where->index() < 0) where = Device(TYPE, current);
  if (!where) return where;
  for (const auto& one : found) {
    const auto& t = one.tensor;
    if (t.device().type() == TYPE || t.device().type() == c10::kMeta) continue;
    if (INDEXING.count(name) && schema.arguments()[one.argument].name() == "indices") {
      if (ours(found[0].tensor)) {
        if (t.scalar_type() == c10::kBool || t.scalar_type() == c10::kByte) continue;
        continue;
      }
      // fall through: indices of the device into a CPU tensor are caught by the first argument
    }
    if (HOST_LENGTHS.count(name) && t.scalar_type() == c10::kLong) continue;
    bool scalar = t.dim() == 0 && !one.written && !STRICT.count(name);
    if (scalar) continue;
    problem(name + ": CPU tensor among device tensors");
    TORCH_CHECK(
        false, "Expected all tensors to be on the same device, but found at least two devices, ",
        *where, " and cpu! (argument ", schema.arguments()[one.argument].name(), " of ", name,
        one.written ? ", which is written to" : "", ")");
  }
  if (without_cuda.count(name + "." + schema.overload_name())) {
    problem(name + ": no CUDA kernel");
    TORCH_CHECK_NOT_IMPLEMENTED(
        false, "Could not run '", name, ".", schema.overload_name(),
        "' with arguments from the 'CUDA' backend: it has no CUDA kernel (fakegpu).");
  }
  if (PRODUCTS.count(name))
    for (const auto& one : found)
      if (c10::isIntegralType(one.tensor.scalar_type(), true)) {
        problem(name + ": integers");
        TORCH_CHECK_NOT_IMPLEMENTED(
            false, "\"", name, "_cuda\" not implemented for '", one.tensor.scalar_type(), "'");
      }
  if (name == "aten::linalg_lstsq")
    for (const auto& value : values)
      if (value.isString() && value.toStringRef() != "gels")
        TORCH_CHECK(
            false, "torch.linalg.lstsq: parameter `driver` should be one of (gels) on CUDA, not ",
            value.toStringRef());
  return where;
}

// ------------------------------------------------------------------------------- the fallback

void fallback(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  const auto& name = schema.name();
  const size_t count = schema.arguments().size();
  auto values = torch::jit::last(*stack, count).vec();
  auto found = tensors_of(schema, values);
  auto where_found = checked(schema, found, values);
  TORCH_CHECK(where_found, "fakegpu: ", name, " came here without anything on the device");
  Device where = *where_found;

  at::AutoDispatchBelowADInplaceOrView below;
  kernel(name + (schema.overload_name().empty() ? "" : "." + schema.overload_name()));
  if (WAITING.count(name)) sync(name);
  if (INDEXING.count(name))
    for (const auto& one : found)
      if (schema.arguments()[one.argument].name() == "indices") {
        if (one.tensor.scalar_type() == c10::kBool || one.tensor.scalar_type() == c10::kByte) {
          sync(name + " by a mask");
          break;
        }
        if (!ours(one.tensor)) sync(name + " by CPU indices");
      }

  Aliases aliases;
  std::vector<std::pair<at::Tensor, at::Tensor>> written;  // device, alias
  std::vector<std::pair<at::Tensor, at::Tensor>> all;
  auto alias = [&](const at::Tensor& t, bool write) {
    if (!ours(t)) return t;
    auto made = aliases.of(t);
    all.emplace_back(t, made);
    if (write) written.emplace_back(t, made);
    return made;
  };
  std::vector<at::Generator> lent;
  bool has_generator = false;
  for (size_t i = 0; i < count; i++) {
    const auto& argument = schema.arguments()[i];
    bool write = argument.alias_info() && argument.alias_info()->isWrite();
    auto& value = values[i];
    if (value.isTensor()) {
      value = alias(value.toTensor(), write);
    } else if (value.isTensorList()) {
      auto list = value.toTensorVector();
      for (auto& t : list) t = alias(t, write);
      value = c10::IValue(list);
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list;
      for (const auto& t : value.toOptionalTensorVector())
        list.push_back(t.has_value() && t->defined() ? std::optional<at::Tensor>(alias(*t, write)) : t);
      value = c10::IValue(list);
    } else if (value.isDevice()) {
      value = c10::IValue(Device(c10::kCPU));
    } else if (value.isGenerator()) {
      has_generator = true;
      auto generator = value.toGenerator();
      TORCH_CHECK(
          generator.device().type() == TYPE, "Expected a 'cuda' device type for generator but found '",
          generator.device().type(), "' (", name, ")");
      lent.push_back(at::make_generator<Lent>(generator));
      value = c10::IValue(lent.back());
    } else if (argument.name() == "generator" && value.isNone()) {
      has_generator = true;
      lent.push_back(at::make_generator<Lent>(default_generator(where.index())));
      value = c10::IValue(lent.back());
    }
  }
  (void)has_generator;
  torch::jit::drop(*stack, count);
  for (auto& value : values) torch::jit::push(*stack, value);
  op.redispatchBoxed(DispatchKeySet(DispatchKey::CPU), stack);
  lent.clear();

  for (auto& [device, made] : written) follow(device, made);
  const size_t returns = schema.returns().size();
  auto results = torch::jit::last(*stack, returns).vec();
  auto back = [&](const at::Tensor& t) -> at::Tensor {
    if (!t.defined() || ours(t)) return t;
    for (auto& [device, made] : written)
      if (made.is_same(t)) return device;
    for (auto& [device, made] : all)
      if (made.is_same(t)) return device;
    return moved(t, where);
  };
  for (size_t i = 0; i < returns; i++) {
    auto* about = schema.returns()[i].alias_info();
    auto& value = results[i];
    if (about && !about->isWrite() && (value.isTensor() || value.isTensorList())) {
      TORCH_CHECK(false, "fakegpu: ", name, " returns a view and has to be registered");
    }
    if (value.isTensor()) {
      value = back(value.toTensor());
    } else if (value.isTensorList()) {
      auto list = value.toTensorVector();
      for (auto& t : list) t = back(t);
      value = c10::IValue(list);
    }
  }
  torch::jit::drop(*stack, returns);
  for (auto& value : results) torch::jit::push(*stack, std::move(value));
}

// ------------------------------------------------------------------------------- the basics

at::Tensor empty_memory_format(
    c10::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
    std::optional<Device> device, std::optional<bool> pin, std::optional<at::MemoryFormat> format) {
  TORCH_CHECK(!pin.value_or(false), "Only dense CPU tensors can be pinned");
  Device where = device.value_or(Device(TYPE, current));
  DeviceIndex i = where.index() < 0 ? current : where.index();
  TORCH_CHECK(i < COUNT, "CUDA error: invalid device ordinal");
  std::swap(current, i);
  auto out = at::detail::empty_generic(
      size, &allocator, DispatchKeySet(DispatchKey::PrivateUse1), c10::dtype_or_default(dtype), format);
  std::swap(current, i);
  return out;
}

at::Tensor empty_strided(
    c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<at::ScalarType> dtype,
    std::optional<at::Layout>, std::optional<Device> device, std::optional<bool> pin) {
  TORCH_CHECK(!pin.value_or(false), "Only dense CPU tensors can be pinned");
  Device where = device.value_or(Device(TYPE, current));
  DeviceIndex i = where.index() < 0 ? current : where.index();
  TORCH_CHECK(i < COUNT, "CUDA error: invalid device ordinal");
  std::swap(current, i);
  auto out = at::detail::empty_strided_generic(
      size, stride, &allocator, DispatchKeySet(DispatchKey::PrivateUse1), c10::dtype_or_default(dtype));
  std::swap(current, i);
  return out;
}

const at::Tensor& resize_(
    const at::Tensor& self, c10::IntArrayRef size, std::optional<at::MemoryFormat> format) {
  auto* impl = self.unsafeGetTensorImpl();
  impl->generic_set_sizes_contiguous(size);
  size_t wanted = at::detail::computeStorageNbytes(
      self.sizes(), self.strides(), self.dtype().itemsize(), self.storage_offset());
  if (wanted > self.storage().nbytes()) {
    Hooks hooks;
    hooks.resizePrivateUse1Bytes(self.storage(), wanted);
  }
  if (format.has_value() && *format != at::MemoryFormat::Preserve) impl->empty_tensor_restride(*format);
  return self;
}

at::Tensor& set_storage_offset(
    at::Tensor& self, c10::Storage source, int64_t offset, c10::IntArrayRef size, c10::IntArrayRef stride) {
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(std::move(source));
  if (stride.size() == size.size())
    impl->set_sizes_and_strides(size, stride, offset);
  else {
    impl->generic_set_sizes_contiguous(size);
    impl->set_storage_offset(offset);
  }
  return self;
}

at::Tensor& set_storage(at::Tensor& self, c10::Storage source) {
  int64_t n = source.nbytes() / self.dtype().itemsize();
  return set_storage_offset(self, std::move(source), 0, {n}, {1});
}

at::Tensor& set_nothing(at::Tensor& self) {
  c10::Storage none(c10::Storage::use_byte_size_t(), 0, allocator.at(0, self.device().index()), &allocator, true);
  return set_storage_offset(self, std::move(none), 0, {0}, {1});
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool non_blocking) {
  Aliases aliases;
  at::AutoDispatchBelowADInplaceOrView below;
  if (from.numel() || to.numel()) {
    size_t bytes = from.numel() * from.dtype().itemsize();
    if (ours(from) && ours(to)) {
      kernel("copy_");
    } else if (ours(to)) {
      kernel("copy_ to device");
      bool free = non_blocking && is_pinned(from.const_data_ptr());
      {
        std::lock_guard<std::mutex> guard(counting);
        to_device++, to_device_bytes += bytes;
      }
      if (!free) sync("copy to device of pageable memory");
    } else {
      kernel("copy_ to host");
      {
        std::lock_guard<std::mutex> guard(counting);
        to_host++, to_host_bytes += bytes;
      }
      if (!(non_blocking && is_pinned(to.const_data_ptr()))) sync("copy to host");
    }
    auto target = aliases.of(to);
    target.copy_(aliases.of(from));
  }
  return to;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  if (from.sizes() != to.sizes()) to.resize_(from.sizes());
  return copy_from(from, to, false);
}

at::Scalar local_scalar_dense(const at::Tensor& self) {
  kernel("_local_scalar_dense");
  {
    std::lock_guard<std::mutex> guard(counting);
    to_host++, to_host_bytes += self.dtype().itemsize();
  }
  sync("item");
  Aliases aliases;
  return at::native::_local_scalar_dense_cpu(aliases.of(self));
}

// Convolutions do not come to the fallback: PyTorch looks for these two.

void check_convolution(const char* name, std::vector<at::Tensor> all) {
  for (const auto& t : all) {
    if (!t.defined()) continue;
    if (!ours(t) || t.device() != all[0].device()) {
      problem(std::string(name) + ": CPU tensor among device tensors");
      TORCH_CHECK(
          false, "Expected all tensors to be on the same device, but found at least two devices, ",
          all[0].device(), " and ", t.device(), "! (", name, ")");
    }
    TORCH_CHECK_NOT_IMPLEMENTED(
        !c10::isIntegralType(t.scalar_type(), true), "\"", name, "\" not implemented for '",
        t.scalar_type(), "'");
  }
}

at::Tensor convolution(
    const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
    c10::IntArrayRef stride, c10::IntArrayRef padding, c10::IntArrayRef dilation, bool transposed,
    c10::IntArrayRef output_padding, int64_t groups) {
  at::Tensor b = bias.value_or(at::Tensor());
  check_convolution("convolution", {x, weight, b});
  at::AutoDispatchBelowADInplaceOrView below;
  kernel("convolution");
  Aliases aliases;
  auto y = at::convolution(
      aliases.of(x), aliases.of(weight), b.defined() ? std::optional<at::Tensor>(aliases.of(b)) : bias,
      stride, padding, dilation, transposed, output_padding, groups);
  return moved(y, x.device());
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> convolution_backward(
    const at::Tensor& grad, const at::Tensor& x, const at::Tensor& weight, c10::IntArrayRef stride,
    c10::IntArrayRef padding, c10::IntArrayRef dilation, bool transposed,
    c10::IntArrayRef output_padding, int64_t groups, std::array<bool, 3> mask) {
  check_convolution("convolution_backward", {grad, x, weight});
  at::AutoDispatchBelowADInplaceOrView below;
  kernel("convolution_backward");
  Aliases aliases;
  std::vector<int64_t> sizes{transposed ? weight.size(1) * groups : weight.size(0)};
  auto [a, b, c] = at::convolution_backward(
      aliases.of(grad), aliases.of(x), aliases.of(weight), c10::IntArrayRef(sizes), stride, padding,
      dilation, transposed, output_padding, groups, mask);
  return {moved(a, x.device()), moved(b, x.device()), moved(c, x.device())};
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("convolution_overrideable", &convolution);
  m.impl("convolution_backward_overrideable", &convolution_backward);
  m.impl("empty.memory_format", &empty_memory_format);
  m.impl("empty_strided", &empty_strided);
  m.impl("as_strided", &at::native::as_strided_tensorimpl);
  m.impl("view", static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef)>(&at::native::view));
  m.impl("_reshape_alias", &at::native::_reshape_alias);
  m.impl("unfold", &at::native::unfold);
  m.impl("view_as_real", &at::native::view_as_real);
  m.impl("view_as_complex", &at::native::view_as_complex);
  m.impl("resize_", &resize_);
  m.impl("set_.source_Storage", &set_storage);
  m.impl("set_.source_Storage_storage_offset", &set_storage_offset);
  m.impl("set_.source_Tensor", &at::native::set_tensor_);
  m.impl("set_", &set_nothing);
  m.impl("_copy_from", &copy_from);
  m.impl("_copy_from_and_resize", &copy_from_and_resize);
  m.impl("_local_scalar_dense", &local_scalar_dense);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>());
}

// ------------------------------------------------------------------------------- autocast

#define LOWER(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, lower_precision_fp)
#define FP32(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32)
#define OPT(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32_set_opt_dtype)
#define PROMOTE(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, promote)

}  // namespace

namespace at::autocast {
TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, m) {
  AT_FORALL_LOWER_PRECISION_FP(LOWER)
  AT_FORALL_FP32(FP32)
  AT_FORALL_FP32_SET_OPT_DTYPE(OPT)
  AT_FORALL_DIFFERENT_REDISPATCH_SIGNATURE(KERNEL_DIFFERENT_REDISPATCH_SIGNATURE_PRIVATEUSEONE)
  AT_FORALL_PROMOTE(PROMOTE)
}
TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFallthrough());
}
}  // namespace at::autocast

// ------------------------------------------------------------------------------- Python

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  static Hooks hooks;
  at::RegisterPrivateUse1HooksInterface(&hooks);
  m.def("device_count", [] { return COUNT; });
  m.def("current_device", [] { return (int)current; });
  m.def("set_device", [](int i) {
    TORCH_CHECK(i >= 0 && i < COUNT, "CUDA error: invalid device ordinal");
    current = i;
  });
  m.def("total_memory", [] { return BYTES; });
  m.def("memory", [](int i) { return std::make_tuple(arenas[i].live, arenas[i].peak); });
  m.def("reset_peak", [](int i) { arenas[i].peak = arenas[i].live; });
  m.def("seed", [](int i, uint64_t seed) { default_generator(i).set_current_seed(seed); });
  m.def("initial_seed", [](int i) { return default_generator(i).current_seed(); });
  m.def("get_rng_state", [](int i) { return default_generator(i).get_state(); });
  m.def("set_rng_state", [](int i, const at::Tensor& state) { default_generator(i).set_state(state); });
  m.def("default_generator", [](int i) { return default_generator(i); });
  m.def("without_cuda", [](std::set<std::string> names) { without_cuda = std::move(names); });
  m.def("note_sync", [](const std::string& name) { sync(name); });
  m.def("on_sync", [](py::object f) {
    delete on_sync;
    on_sync = f.is_none() ? nullptr : new py::object(std::move(f));
  });
  m.def("on_kernel", [](py::object f) {
    delete on_kernel;
    on_kernel = f.is_none() ? nullptr : new py::object(std::move(f));
  });
  m.def("counts", [] {
    std::lock_guard<std::mutex> guard(counting);
    py::dict out;
    out["kernels"] = kernels;
    out["syncs"] = syncs;
    out["problems"] = problems;
    out["to_device"] = std::make_tuple(to_device, to_device_bytes);
    out["to_host"] = std::make_tuple(to_host, to_host_bytes);
    return out;
  });
  m.def("reset_counts", [] {
    std::lock_guard<std::mutex> guard(counting);
    kernels.clear(), syncs.clear(), problems.clear();
    to_device = to_device_bytes = to_host = to_host_bytes = 0;
  });
}
