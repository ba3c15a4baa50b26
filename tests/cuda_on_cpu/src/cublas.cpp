// cuBLAS on the CPU: plain loops, columns first, rounding in the type that cuBLAS computes in.
#include <cuComplex.h>
#include <cuda_runtime_api.h>
#include <library_types.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <type_traits>
#include <vector>

#include "emulator.h"

namespace emulator {
void say(const char *f, ...);
bool reachable(const void *p, size_t n);
}  // namespace emulator
using namespace emulator;

namespace {

using c64 = std::complex<float>;
using c128 = std::complex<double>;
using half = _Float16;
struct bfloat {
    uint16_t bits;
    operator float() const { uint32_t u = (uint32_t)bits << 16; float f; memcpy(&f, &u, 4); return f; }
    bfloat() = default;
    bfloat(float f) { uint32_t u; memcpy(&u, &f, 4); bits = f != f ? 0x7fff : (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16); }
};

enum { SUCCESS = 0, NOT_INITIALIZED = 1, ALLOC_FAILED = 3, INVALID_VALUE = 7, ARCH_MISMATCH = 8, MAPPING_ERROR = 11, EXECUTION_FAILED = 13, INTERNAL_ERROR = 14, NOT_SUPPORTED = 15 };

struct Handle {
    void *stream = nullptr;
    int pointer_mode = 0, math_mode = 0, atomics = 0;
    unsigned magic = 0xb1a5;
};
Handle *checked(void *h) {
    auto *x = (Handle *)h;
    return x && x->magic == 0xb1a5 ? x : nullptr;
}

template <class T> struct is_complex : std::false_type {};
template <class T> struct is_complex<std::complex<T>> : std::true_type {};
template <class T> struct real_of { using type = T; };
template <class T> struct real_of<std::complex<T>> { using type = T; };
template <class T> T conj_of(T x) { return x; }
template <class T> std::complex<T> conj_of(std::complex<T> x) { return std::conj(x); }

int run(Handle *h, const char *what, std::function<void()> f) { return on_stream(h->stream, what, PRODUCT, std::move(f)) ? EXECUTION_FAILED : SUCCESS; }

// A scalar argument: its value now if it lies on the host, read later if it lies on the device.
template <class T> std::function<T()> scalar(Handle *h, const void *p) {
    if (h->pointer_mode == 0) {
        T v = *(const T *)p;
        return [v] { return v; };
    }
    return [p] { return *(const T *)host(p); };
}
template <class T> T *result_place(Handle *, T *p) { return host(p); }

bool seen(const void *p, size_t elements, size_t size, const char *what) {
    if (!elements || reachable(p, elements * size)) return true;
    say("%s: %p is not %zu bytes of device memory", what, p, elements * size);
    return false;
}
size_t span(int rows, int columns, int ld) { return rows && columns ? (size_t)ld * (columns - 1) + rows : 0; }
// Elements from the first of `count` matrices to the end of the last.
size_t batch_span(size_t one, long long stride, int count) { return one && count > 0 ? (size_t)(stride * (count - 1)) + one : 0; }
size_t strided(int n, int inc) { return n > 0 ? (size_t)(n - 1) * std::abs(inc) + 1 : 0; }
ptrdiff_t first(int n, int inc) { return inc < 0 ? (ptrdiff_t)(1 - n) * inc : 0; }

// op(X) as rows x columns of the type computed in.
template <class A, class T> std::vector<A> taken(const T *x, int op, int rows, int columns, int ld) {
    std::vector<A> out((size_t)rows * columns);
    for (int j = 0; j < columns; ++j)
        for (int i = 0; i < rows; ++i) {
            const T v = op ? x[(size_t)i * ld + j] : x[(size_t)j * ld + i];
            if constexpr (is_complex<T>::value) out[(size_t)j * rows + i] = op == 2 ? conj_of(A(v)) : A(v);
            else out[(size_t)j * rows + i] = A(v);
        }
    return out;
}

template <class A, class TA, class TB, class TC>
void gemm(int ta, int tb, int m, int n, int k, A alpha, const TA *a, int lda, const TB *b, int ldb, A beta, TC *c, int ldc) {
    const auto x = taken<A>(a, ta, m, k, lda);
    const auto y = taken<A>(b, tb, k, n, ldb);
    std::vector<A> column(m);
    for (int j = 0; j < n; ++j) {
        std::fill(column.begin(), column.end(), A(0));
        if (alpha != A(0))
            for (int p = 0; p < k; ++p) {
                const A w = y[(size_t)j * k + p];
                const A *from = &x[(size_t)p * m];
                for (int i = 0; i < m; ++i) column[i] += from[i] * w;
            }
        for (int i = 0; i < m; ++i) {
            TC &out = c[(size_t)j * ldc + i];
            out = beta == A(0) ? TC(alpha * column[i]) : TC(alpha * column[i] + beta * A(out));
        }
    }
}

int gemm_shapes(int ta, int tb, int m, int n, int k, int lda, int ldb, int ldc) {
    if (m < 0 || n < 0 || k < 0) return INVALID_VALUE;
    if (ta < 0 || ta > 2 || tb < 0 || tb > 2) return INVALID_VALUE;
    if (lda < std::max(1, ta ? k : m) || ldb < std::max(1, tb ? n : k) || ldc < std::max(1, m)) return INVALID_VALUE;
    return SUCCESS;
}

template <class T> int Gemm(void *handle, const char *what, int ta, int tb, int m, int n, int k, const T *alpha, const T *a, int lda, const T *b, int ldb, const T *beta, T *c, int ldc) {
    Handle *h = checked(handle);
    if (!h) return NOT_INITIALIZED;
    if (int e = gemm_shapes(ta, tb, m, n, k, lda, ldb, ldc)) return e;
    if (!seen(a, ta ? span(k, m, lda) : span(m, k, lda), sizeof(T), what) || !seen(b, tb ? span(n, k, ldb) : span(k, n, ldb), sizeof(T), what) || !seen(c, span(m, n, ldc), sizeof(T), what)) return EXECUTION_FAILED;
    auto one = scalar<T>(h, alpha), two = scalar<T>(h, beta);
    return run(h, what, [=] { gemm<T>(ta, tb, m, n, k, one(), host(a), lda, host(b), ldb, two(), host(c), ldc); });
}
template <class T> int GemmBatched(void *handle, const char *what, int ta, int tb, int m, int n, int k, const T *alpha, const T *const *a, int lda, const T *const *b, int ldb, const T *beta, T *const *c, int ldc, int count) {
    Handle *h = checked(handle);
    if (!h) return NOT_INITIALIZED;
    if (int e = gemm_shapes(ta, tb, m, n, k, lda, ldb, ldc)) return e;
    if (!seen(a, count, 8, what) || !seen(b, count, 8, what) || !seen(c, count, 8, what)) return EXECUTION_FAILED;
    auto one = scalar<T>(h, alpha), two = scalar<T>(h, beta);
    return run(h, what, [=] {
        for (int q = 0; q < count; ++q) gemm<T>(ta, tb, m, n, k, one(), host(host(a)[q]), lda, host(host(b)[q]), ldb, two(), host(host(c)[q]), ldc);
    });
}
template <class T> int GemmStrided(void *handle, const char *what, int ta, int tb, int m, int n, int k, const T *alpha, const T *a, int lda, long long sa, const T *b, int ldb, long long sb, const T *beta, T *c, int ldc, long long sc, int count) {
    Handle *h = checked(handle);
    if (!h) return NOT_INITIALIZED;
    if (int e = gemm_shapes(ta, tb, m, n, k, lda, ldb, ldc)) return e;
    if (!seen(a, batch_span(ta ? span(k, m, lda) : span(m, k, lda), sa, count), sizeof(T), what) || !seen(b, batch_span(tb ? span(n, k, ldb) : span(k, n, ldb), sb, count), sizeof(T), what) || !seen(c, batch_span(span(m, n, ldc), sc, count), sizeof(T), what)) return EXECUTION_FAILED;
    auto one = scalar<T>(h, alpha), two = scalar<T>(h, beta);
    return run(h, what, [=] {
        for (int q = 0; q < count; ++q) gemm<T>(ta, tb, m, n, k, one(), host(a) + q * sa, lda, host(b) + q * sb, ldb, two(), host(c) + q * sc, ldc);
    });
}

// Calls f with a null pointer of the element type.
template <class F> bool by_type(int type, F f) {
    switch (type) {
        case CUDA_R_32F: f((float *)nullptr); return true;
        case CUDA_R_64F: f((double *)nullptr); return true;
        case CUDA_R_16F: f((half *)nullptr); return true;
        case CUDA_R_16BF: f((bfloat *)nullptr); return true;
        case CUDA_R_8I: f((int8_t *)nullptr); return true;
        case CUDA_R_32I: f((int32_t *)nullptr); return true;
        case CUDA_C_32F: f((c64 *)nullptr); return true;
        case CUDA_C_64F: f((c128 *)nullptr); return true;
    }
    return false;
}
size_t size_of(int type) {
    size_t n = 0;
    by_type(type, [&](auto *p) { n = sizeof *p; });
    return n;
}
template <class A, class S> std::function<A()> widened(Handle *h, const void *p) {
    auto s = scalar<S>(h, p);
    return [s] { return A(s()); };
}

int GemmAny(void *handle, const char *what, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int type_a, int lda, long long sa, const void *b, int type_b, int ldb, long long sb, const void *beta, void *c, int type_c, int ldc, long long sc, int count, int compute) {
    Handle *h = checked(handle);
    if (!h) return NOT_INITIALIZED;
    if (int e = gemm_shapes(ta, tb, m, n, k, lda, ldb, ldc)) return e;
    if (type_a != type_b) return NOT_SUPPORTED;
    const bool complex = type_c == CUDA_C_32F || type_c == CUDA_C_64F;
    if (!size_of(type_a) || !size_of(type_c)) return NOT_SUPPORTED;
    if (!seen(a, batch_span(ta ? span(k, m, lda) : span(m, k, lda), sa, count), size_of(type_a), what) || !seen(b, batch_span(tb ? span(n, k, ldb) : span(k, n, ldb), sb, count), size_of(type_b), what) || !seen(c, batch_span(span(m, n, ldc), sc, count), size_of(type_c), what)) return EXECUTION_FAILED;
    switch (compute) {  // where a cudaDataType is given, cuBLAS's header turns it into the type computed in
        case CUDA_R_32F: case CUDA_C_32F: compute = 68; break;
        case CUDA_R_64F: case CUDA_C_64F: compute = 70; break;
        case CUDA_R_16F: compute = 64; break;
        case CUDA_R_32I: compute = 72; break;
    }
    std::function<void()> work;
    auto make = [&]<class A>(A *, std::function<A()> one, std::function<A()> two) {
        work = [=] {
            by_type(type_a, [&]<class TA>(TA *) {
                by_type(type_c, [&]<class TC>(TC *) {
                    if constexpr (is_complex<A>::value == is_complex<TA>::value && is_complex<A>::value == is_complex<TC>::value)
                        for (int q = 0; q < count; ++q)
                            gemm<A>(ta, tb, m, n, k, one(), (const TA *)host(a) + q * sa, lda, (const TA *)host(b) + q * sb, ldb, two(), (TC *)host(c) + q * sc, ldc);
                });
            });
        };
    };
    switch (compute) {
        case 64: case 65: make((float *)nullptr, widened<float, half>(h, alpha), widened<float, half>(h, beta)); break;
        case 68: case 69: case 74: case 75: case 77: case 78:
            if (type_a == CUDA_R_64F || type_c == CUDA_R_64F) return NOT_SUPPORTED;
            if (complex) make((c64 *)nullptr, scalar<c64>(h, alpha), scalar<c64>(h, beta));
            else make((float *)nullptr, scalar<float>(h, alpha), scalar<float>(h, beta));
            break;
        case 70: case 71:
            if (type_a != CUDA_R_64F && type_a != CUDA_C_64F) return NOT_SUPPORTED;
            if (complex) make((c128 *)nullptr, scalar<c128>(h, alpha), scalar<c128>(h, beta));
            else make((double *)nullptr, scalar<double>(h, alpha), scalar<double>(h, beta));
            break;
        case 72: case 73: make((int32_t *)nullptr, scalar<int32_t>(h, alpha), scalar<int32_t>(h, beta)); break;
        default: return NOT_SUPPORTED;
    }
    return run(h, what, std::move(work));
}

// -- level 1 and 2

template <class T> int Dot(void *handle, const char *what, int n, const T *x, int incx, const T *y, int incy, T *out, bool conj) {
    Handle *h = checked(handle);
    if (!h) return NOT_INITIALIZED;
    if (!seen(x, strided(n, incx), sizeof(T), what) || !seen(y, strided(n, incy), sizeof(T), what)) return EXECUTION_FAILED;
    return run(h, what, [=] {
        T total(0);
        const T *a = host(x) + first(n, incx), *b = host(y) + first(n, incy);
        for (int k = 0; k < n; ++k) total += (conj ? conj_of(a[(ptrdiff_t)k * incx]) : a[(ptrdiff_t)k * incx]) * b[(ptrdiff_t)k * incy];
        *host(out) = total;
    });
}
template <class T> int Axpy(void *handle, int n, const T *alpha, const T *x, int incx, T *y, int incy) {
    Handle *h = checked(handle);
    if (!h) return NOT_INITIALIZED;
    auto one = scalar<T>(h, alpha);
    return run(h, "cublas axpy", [=] {
        const T *a = host(x) + first(n, incx);
        T *b = host(y) + first(n, incy);
        for (int k = 0; k < n; ++k) b[(ptrdiff_t)k * incy] += one() * a[(ptrdiff_t)k * incx];
    });
}
template <class T, class S> int Scal(void *handle, int n, const S *alpha, T *x, int incx) {
    Handle *h = checked(handle);
    if (!h) return NOT_INITIALIZED;
    auto one = scalar<S>(h, alpha);
    return run(h, "cublas scal", [=] {
        T *a = host(x);
        for (int k = 0; k < n; ++k) a[(ptrdiff_t)k * incx] *= one();
    });
}
template <class T> typename real_of<T>::type size1(T x) {
    if constexpr (is_complex<T>::value) return std::abs(x.real()) + std::abs(x.imag());
    else return std::abs(x);
}
template <class T> int Iam(void *handle, int n, const T *x, int incx, int *out, bool most) {
    Handle *h = checked(handle);
    if (!h) return NOT_INITIALIZED;
    return run(h, "cublas amax", [=] {
        const T *a = host(x);
        int best = 0;
        for (int k = 1; k < n; ++k)
            if (most ? size1(a[(ptrdiff_t)k * incx]) > size1(a[(ptrdiff_t)best * incx]) : size1(a[(ptrdiff_t)k * incx]) < size1(a[(ptrdiff_t)best * incx])) best = k;
        *host(out) = n > 0 ? best + 1 : 0;
    });
}
template <class T, class R> int Asum(void *handle, int n, const T *x, int incx, R *out) {
    Handle *h = checked(handle);
    if (!h) return NOT_INITIALIZED;
    return run(h, "cublas asum", [=] {
        R total = 0;
        for (int k = 0; k < n; ++k) total += size1(host(x)[(ptrdiff_t)k * incx]);
        *host(out) = total;
    });
}
template <class T, class R> int Nrm2(void *handle, int n, const T *x, int incx, R *out) {
    Handle *h = checked(handle);
    if (!h) return NOT_INITIALIZED;
    return run(h, "cublas nrm2", [=] {
        double total = 0;
        for (int k = 0; k < n; ++k) total += std::norm(c128(host(x)[(ptrdiff_t)k * incx]));
        *host(out) = (R)std::sqrt(total);
    });
}
template <class T> int Gemv(void *handle, const char *what, int t, int m, int n, const T *alpha, const T *a, int lda, const T *x, int incx, const T *beta, T *y, int incy) {
    Handle *h = checked(handle);
    if (!h) return NOT_INITIALIZED;
    if (m < 0 || n < 0 || lda < std::max(1, m) || !incx || !incy) return INVALID_VALUE;
    const int in = t ? m : n, out = t ? n : m;
    if (!seen(a, span(m, n, lda), sizeof(T), what) || !seen(x, strided(in, incx), sizeof(T), what) || !seen(y, strided(out, incy), sizeof(T), what)) return EXECUTION_FAILED;
    auto one = scalar<T>(h, alpha), two = scalar<T>(h, beta);
    return run(h, what, [=] {
        const T *p = host(a), *q = host(x) + first(in, incx);
        T *r = host(y) + first(out, incy);
        for (int i = 0; i < out; ++i) {
            T total(0);
            for (int j = 0; j < in; ++j) {
                const T v = t ? p[(size_t)i * lda + j] : p[(size_t)j * lda + i];
                total += (t == 2 ? conj_of(v) : v) * q[(ptrdiff_t)j * incx];
            }
            T &o = r[(ptrdiff_t)i * incy];
            o = two() == T(0) ? one() * total : one() * total + two() * o;
        }
    });
}
template <class T> int Ger(void *handle, int m, int n, const T *alpha, const T *x, int incx, const T *y, int incy, T *a, int lda, bool conj) {
    Handle *h = checked(handle);
    if (!h) return NOT_INITIALIZED;
    auto one = scalar<T>(h, alpha);
    return run(h, "cublas ger", [=] {
        const T *p = host(x) + first(m, incx), *q = host(y) + first(n, incy);
        T *r = host(a);
        for (int j = 0; j < n; ++j)
            for (int i = 0; i < m; ++i) {
                const T w = q[(ptrdiff_t)j * incy];
                r[(size_t)j * lda + i] += one() * p[(ptrdiff_t)i * incx] * (conj ? conj_of(w) : w);
            }
    });
}
template <class T> int Sbmv(void *handle, int uplo, int n, int k, const T *alpha, const T *a, int lda, const T *x, int incx, const T *beta, T *y, int incy) {
    Handle *h = checked(handle);
    if (!h) return NOT_INITIALIZED;
    auto one = scalar<T>(h, alpha), two = scalar<T>(h, beta);
    return run(h, "cublas sbmv", [=] {
        const T *p = host(a), *q = host(x) + first(n, incx);
        T *r = host(y) + first(n, incy);
        auto at = [&](int i, int j) {
            if (std::abs(i - j) > k) return T(0);
            if (uplo == 0) { if (i < j) std::swap(i, j); return p[(size_t)j * lda + (i - j)]; }
            if (i > j) std::swap(i, j);
            return p[(size_t)j * lda + (k + i - j)];
        };
        std::vector<T> out(n);
        for (int i = 0; i < n; ++i) {
            T total(0);
            for (int j = 0; j < n; ++j) total += at(i, j) * q[(ptrdiff_t)j * incx];
            const T old = r[(ptrdiff_t)i * incy];
            out[i] = two() == T(0) ? one() * total : one() * total + two() * old;
        }
        for (int i = 0; i < n; ++i) r[(ptrdiff_t)i * incy] = out[i];
    });
}

// -- level 3 and extensions

template <class T> void trsm(int side, int uplo, int t, int diag, int m, int n, T alpha, const T *a, int lda, T *b, int ldb) {
    const int k = side ? n : m;
    auto at = [&](int i, int j) -> T {  // op(A)
        T v = t ? a[(size_t)i * lda + j] : a[(size_t)j * lda + i];
        return t == 2 ? conj_of(v) : v;
    };
    const bool lower = (uplo == 0) != (t != 0);
    auto B = [&](int i, int j) -> T & { return b[(size_t)j * ldb + i]; };
    for (int j = 0; j < n; ++j)
        for (int i = 0; i < m; ++i) B(i, j) *= alpha;
    if (!side) {
        for (int j = 0; j < n; ++j)
            for (int s = 0; s < k; ++s) {
                const int i = lower ? s : k - 1 - s;
                T v = B(i, j);
                for (int p = lower ? 0 : i + 1; p < (lower ? i : k); ++p) v -= at(i, p) * B(p, j);
                B(i, j) = diag ? v : v / at(i, i);
            }
    } else {
        for (int i = 0; i < m; ++i)
            for (int s = 0; s < k; ++s) {
                const int j = lower ? k - 1 - s : s;
                T v = B(i, j);
                for (int p = lower ? j + 1 : 0; p < (lower ? k : j); ++p) v -= B(i, p) * at(p, j);
                B(i, j) = diag ? v : v / at(j, j);
            }
    }
}
template <class T> int Trsm(void *handle, int side, int uplo, int t, int diag, int m, int n, const T *alpha, const T *a, int lda, T *b, int ldb) {
    Handle *h = checked(handle);
    if (!h) return NOT_INITIALIZED;
    auto one = scalar<T>(h, alpha);
    return run(h, "cublas trsm", [=] { trsm<T>(side, uplo, t, diag, m, n, one(), host(a), lda, host(b), ldb); });
}
template <class T> int TrsmBatched(void *handle, int side, int uplo, int t, int diag, int m, int n, const T *alpha, const T *const *a, int lda, T *const *b, int ldb, int count) {
    Handle *h = checked(handle);
    if (!h) return NOT_INITIALIZED;
    auto one = scalar<T>(h, alpha);
    return run(h, "cublas trsmBatched", [=] {
        for (int q = 0; q < count; ++q) trsm<T>(side, uplo, t, diag, m, n, one(), host(host(a)[q]), lda, host(host(b)[q]), ldb);
    });
}
template <class T> int Syrk(void *handle, int uplo, int t, int n, int k, const T *alpha, const T *a, int lda, const T *beta, T *c, int ldc) {
    Handle *h = checked(handle);
    if (!h) return NOT_INITIALIZED;
    auto one = scalar<T>(h, alpha), two = scalar<T>(h, beta);
    return run(h, "cublas syrk", [=] {
        const auto x = taken<T>(host(a), t ? 1 : 0, n, k, lda);
        T *r = host(c);
        for (int j = 0; j < n; ++j)
            for (int i = uplo ? 0 : j; i < (uplo ? j + 1 : n); ++i) {
                T total(0);
                for (int p = 0; p < k; ++p) total += x[(size_t)p * n + i] * x[(size_t)p * n + j];
                T &o = r[(size_t)j * ldc + i];
                o = two() == T(0) ? one() * total : one() * total + two() * o;
            }
    });
}
template <class T> int Geam(void *handle, int ta, int tb, int m, int n, const T *alpha, const T *a, int lda, const T *beta, const T *b, int ldb, T *c, int ldc) {
    Handle *h = checked(handle);
    if (!h) return NOT_INITIALIZED;
    auto one = scalar<T>(h, alpha), two = scalar<T>(h, beta);
    return run(h, "cublas geam", [=] {
        const T x = one(), y = two();
        std::vector<T> p, q;
        if (x != T(0)) p = taken<T>(host(a), ta, m, n, lda);
        if (y != T(0)) q = taken<T>(host(b), tb, m, n, ldb);
        for (int j = 0; j < n; ++j)
            for (int i = 0; i < m; ++i) {
                const size_t at = (size_t)j * m + i;
                host(c)[(size_t)j * ldc + i] = (p.empty() ? T(0) : x * p[at]) + (q.empty() ? T(0) : y * q[at]);
            }
    });
}
template <class T> int Dgmm(void *handle, int side, int m, int n, const T *a, int lda, const T *x, int incx, T *c, int ldc) {
    Handle *h = checked(handle);
    if (!h) return NOT_INITIALIZED;
    return run(h, "cublas dgmm", [=] {
        const T *d = host(x) + first(side ? n : m, incx);
        for (int j = 0; j < n; ++j)
            for (int i = 0; i < m; ++i) host(c)[(size_t)j * ldc + i] = host(a)[(size_t)j * lda + i] * d[(ptrdiff_t)(side ? j : i) * incx];
    });
}
template <class T> int Packed(void *handle, int uplo, int n, const T *full, T *packed_out, const T *packed, T *full_out, int lda) {
    Handle *h = checked(handle);
    if (!h) return NOT_INITIALIZED;
    return run(h, "cublas trttp", [=] {
        size_t at = 0;
        for (int j = 0; j < n; ++j)
            for (int i = uplo ? 0 : j; i < (uplo ? j + 1 : n); ++i, ++at) {
                if (full) host(packed_out)[at] = host(full)[(size_t)j * lda + i];
                else host(full_out)[(size_t)j * lda + i] = host(packed)[at];
            }
    });
}

}  // namespace

#define API extern "C" __attribute__((visibility("default")))
// Under CUDA's two names.
#define BOTH(name, parameters, arguments) \
    API int name parameters;              \
    API int name##_v2 parameters { return name arguments; } \
    API int name parameters

#define H void *handle
BOTH(cublasCreate, (void **h), (h)) { *h = new Handle; return SUCCESS; }
BOTH(cublasDestroy, (H), (handle)) {
    Handle *h = checked(handle);
    if (!h) return NOT_INITIALIZED;
    h->magic = 0;
    delete h;
    return SUCCESS;
}
BOTH(cublasGetVersion, (H, int *v), (handle, v)) { *v = 130000; return SUCCESS; }
API int cublasGetProperty(int type, int *v) { *v = type == 0 ? 13 : 0; return SUCCESS; }
API size_t cublasGetCudartVersion() { return 13000; }
BOTH(cublasSetStream, (H, void *s), (handle, s)) { Handle *h = checked(handle); if (!h) return NOT_INITIALIZED; h->stream = s; return SUCCESS; }
BOTH(cublasGetStream, (H, void **s), (handle, s)) { *s = checked(handle)->stream; return SUCCESS; }
BOTH(cublasGetPointerMode, (H, int *m), (handle, m)) { *m = checked(handle)->pointer_mode; return SUCCESS; }
BOTH(cublasSetPointerMode, (H, int m), (handle, m)) { checked(handle)->pointer_mode = m; return SUCCESS; }
API int cublasSetMathMode(H, int m) { checked(handle)->math_mode = m; return SUCCESS; }
API int cublasGetMathMode(H, int *m) { *m = checked(handle)->math_mode; return SUCCESS; }
API int cublasSetAtomicsMode(H, int m) { checked(handle)->atomics = m; return SUCCESS; }
API int cublasGetAtomicsMode(H, int *m) { *m = checked(handle)->atomics; return SUCCESS; }
API int cublasSetSmCountTarget(H, int) { return SUCCESS; }
BOTH(cublasSetWorkspace, (H, void *p, size_t n), (handle, p, n)) {
    if (!checked(handle)) return NOT_INITIALIZED;
    if (p && ((uintptr_t)p % 256 || !reachable(p, n))) return INVALID_VALUE;
    return SUCCESS;
}
API const char *cublasGetStatusName(int s) {
    switch (s) {
        case 0: return "CUBLAS_STATUS_SUCCESS";
        case 1: return "CUBLAS_STATUS_NOT_INITIALIZED";
        case 3: return "CUBLAS_STATUS_ALLOC_FAILED";
        case 7: return "CUBLAS_STATUS_INVALID_VALUE";
        case 8: return "CUBLAS_STATUS_ARCH_MISMATCH";
        case 11: return "CUBLAS_STATUS_MAPPING_ERROR";
        case 13: return "CUBLAS_STATUS_EXECUTION_FAILED";
        case 14: return "CUBLAS_STATUS_INTERNAL_ERROR";
        case 15: return "CUBLAS_STATUS_NOT_SUPPORTED";
    }
    return "CUBLAS_STATUS_UNKNOWN";
}
API const char *cublasGetStatusString(int s) { return cublasGetStatusName(s); }

#define EACH(X) X(S, float) X(D, double) X(C, c64) X(Z, c128)
#define REALS(X) X(S, float) X(D, double)
#define COMPLEX(X) X(C, c64) X(Z, c128)

#define X(L, T)                                                                                                                                                                         \
    BOTH(cublas##L##gemm, (H, int ta, int tb, int m, int n, int k, const T *al, const T *a, int lda, const T *b, int ldb, const T *be, T *c, int ldc), (handle, ta, tb, m, n, k, al, a, lda, b, ldb, be, c, ldc)) { return Gemm<T>(handle, "cublas" #L "gemm", ta, tb, m, n, k, al, a, lda, b, ldb, be, c, ldc); } \
    API int cublas##L##gemmBatched(H, int ta, int tb, int m, int n, int k, const T *al, const T *const *a, int lda, const T *const *b, int ldb, const T *be, T *const *c, int ldc, int q) { return GemmBatched<T>(handle, "cublas" #L "gemmBatched", ta, tb, m, n, k, al, a, lda, b, ldb, be, c, ldc, q); } \
    API int cublas##L##gemmStridedBatched(H, int ta, int tb, int m, int n, int k, const T *al, const T *a, int lda, long long sa, const T *b, int ldb, long long sb, const T *be, T *c, int ldc, long long sc, int q) { return GemmStrided<T>(handle, "cublas" #L "gemmStridedBatched", ta, tb, m, n, k, al, a, lda, sa, b, ldb, sb, be, c, ldc, sc, q); } \
    BOTH(cublas##L##axpy, (H, int n, const T *al, const T *x, int ix, T *y, int iy), (handle, n, al, x, ix, y, iy)) { return Axpy<T>(handle, n, al, x, ix, y, iy); } \
    BOTH(cublas##L##scal, (H, int n, const T *al, T *x, int ix), (handle, n, al, x, ix)) { return Scal<T, T>(handle, n, al, x, ix); } \
    BOTH(cublas##L##gemv, (H, int t, int m, int n, const T *al, const T *a, int lda, const T *x, int ix, const T *be, T *y, int iy), (handle, t, m, n, al, a, lda, x, ix, be, y, iy)) { return Gemv<T>(handle, "cublas" #L "gemv", t, m, n, al, a, lda, x, ix, be, y, iy); } \
    BOTH(cublas##L##trsm, (H, int s, int u, int t, int d, int m, int n, const T *al, const T *a, int lda, T *b, int ldb), (handle, s, u, t, d, m, n, al, a, lda, b, ldb)) { return Trsm<T>(handle, s, u, t, d, m, n, al, a, lda, b, ldb); } \
    API int cublas##L##trsmBatched(H, int s, int u, int t, int d, int m, int n, const T *al, const T *const *a, int lda, T *const *b, int ldb, int q) { return TrsmBatched<T>(handle, s, u, t, d, m, n, al, a, lda, b, ldb, q); } \
    BOTH(cublas##L##syrk, (H, int u, int t, int n, int k, const T *al, const T *a, int lda, const T *be, T *c, int ldc), (handle, u, t, n, k, al, a, lda, be, c, ldc)) { return Syrk<T>(handle, u, t, n, k, al, a, lda, be, c, ldc); } \
    API int cublas##L##geam(H, int ta, int tb, int m, int n, const T *al, const T *a, int lda, const T *be, const T *b, int ldb, T *c, int ldc) { return Geam<T>(handle, ta, tb, m, n, al, a, lda, be, b, ldb, c, ldc); } \
    API int cublas##L##dgmm(H, int s, int m, int n, const T *a, int lda, const T *x, int ix, T *c, int ldc) { return Dgmm<T>(handle, s, m, n, a, lda, x, ix, c, ldc); }
EACH(X)
#undef X
#define X(L, T)                                                                                                                                             \
    BOTH(cublas##L##dot, (H, int n, const T *x, int ix, const T *y, int iy, T *r), (handle, n, x, ix, y, iy, r)) { return Dot<T>(handle, "cublas" #L "dot", n, x, ix, y, iy, r, false); } \
    BOTH(cublas##L##ger, (H, int m, int n, const T *al, const T *x, int ix, const T *y, int iy, T *a, int lda), (handle, m, n, al, x, ix, y, iy, a, lda)) { return Ger<T>(handle, m, n, al, x, ix, y, iy, a, lda, false); } \
    BOTH(cublas##L##sbmv, (H, int u, int n, int k, const T *al, const T *a, int lda, const T *x, int ix, const T *be, T *y, int iy), (handle, u, n, k, al, a, lda, x, ix, be, y, iy)) { return Sbmv<T>(handle, u, n, k, al, a, lda, x, ix, be, y, iy); } \
    API int cublas##L##trttp(H, int u, int n, const T *a, int lda, T *p) { return Packed<T>(handle, u, n, a, p, nullptr, nullptr, lda); } \
    API int cublas##L##tpttr(H, int u, int n, const T *p, T *a, int lda) { return Packed<T>(handle, u, n, nullptr, nullptr, p, a, lda); }
REALS(X)
#undef X
#define X(L, T)                                                                                                                                             \
    BOTH(cublas##L##dotu, (H, int n, const T *x, int ix, const T *y, int iy, T *r), (handle, n, x, ix, y, iy, r)) { return Dot<T>(handle, "cublas" #L "dotu", n, x, ix, y, iy, r, false); } \
    BOTH(cublas##L##dotc, (H, int n, const T *x, int ix, const T *y, int iy, T *r), (handle, n, x, ix, y, iy, r)) { return Dot<T>(handle, "cublas" #L "dotc", n, x, ix, y, iy, r, true); } \
    BOTH(cublas##L##geru, (H, int m, int n, const T *al, const T *x, int ix, const T *y, int iy, T *a, int lda), (handle, m, n, al, x, ix, y, iy, a, lda)) { return Ger<T>(handle, m, n, al, x, ix, y, iy, a, lda, false); } \
    BOTH(cublas##L##gerc, (H, int m, int n, const T *al, const T *x, int ix, const T *y, int iy, T *a, int lda), (handle, m, n, al, x, ix, y, iy, a, lda)) { return Ger<T>(handle, m, n, al, x, ix, y, iy, a, lda, true); }
COMPLEX(X)
#undef X
BOTH(cublasCsscal, (H, int n, const float *al, c64 *x, int ix), (handle, n, al, x, ix)) { return Scal<c64, float>(handle, n, al, x, ix); }
BOTH(cublasZdscal, (H, int n, const double *al, c128 *x, int ix), (handle, n, al, x, ix)) { return Scal<c128, double>(handle, n, al, x, ix); }
BOTH(cublasSasum, (H, int n, const float *x, int ix, float *r), (handle, n, x, ix, r)) { return Asum(handle, n, x, ix, r); }
BOTH(cublasDasum, (H, int n, const double *x, int ix, double *r), (handle, n, x, ix, r)) { return Asum(handle, n, x, ix, r); }
BOTH(cublasScasum, (H, int n, const c64 *x, int ix, float *r), (handle, n, x, ix, r)) { return Asum(handle, n, x, ix, r); }
BOTH(cublasDzasum, (H, int n, const c128 *x, int ix, double *r), (handle, n, x, ix, r)) { return Asum(handle, n, x, ix, r); }
BOTH(cublasSnrm2, (H, int n, const float *x, int ix, float *r), (handle, n, x, ix, r)) { return Nrm2(handle, n, x, ix, r); }
BOTH(cublasDnrm2, (H, int n, const double *x, int ix, double *r), (handle, n, x, ix, r)) { return Nrm2(handle, n, x, ix, r); }
BOTH(cublasScnrm2, (H, int n, const c64 *x, int ix, float *r), (handle, n, x, ix, r)) { return Nrm2(handle, n, x, ix, r); }
BOTH(cublasDznrm2, (H, int n, const c128 *x, int ix, double *r), (handle, n, x, ix, r)) { return Nrm2(handle, n, x, ix, r); }
BOTH(cublasIsamax, (H, int n, const float *x, int ix, int *r), (handle, n, x, ix, r)) { return Iam(handle, n, x, ix, r, true); }
BOTH(cublasIdamax, (H, int n, const double *x, int ix, int *r), (handle, n, x, ix, r)) { return Iam(handle, n, x, ix, r, true); }
BOTH(cublasIcamax, (H, int n, const c64 *x, int ix, int *r), (handle, n, x, ix, r)) { return Iam(handle, n, x, ix, r, true); }
BOTH(cublasIzamax, (H, int n, const c128 *x, int ix, int *r), (handle, n, x, ix, r)) { return Iam(handle, n, x, ix, r, true); }
BOTH(cublasIsamin, (H, int n, const float *x, int ix, int *r), (handle, n, x, ix, r)) { return Iam(handle, n, x, ix, r, false); }
BOTH(cublasIdamin, (H, int n, const double *x, int ix, int *r), (handle, n, x, ix, r)) { return Iam(handle, n, x, ix, r, false); }
BOTH(cublasIcamin, (H, int n, const c64 *x, int ix, int *r), (handle, n, x, ix, r)) { return Iam(handle, n, x, ix, r, false); }
BOTH(cublasIzamin, (H, int n, const c128 *x, int ix, int *r), (handle, n, x, ix, r)) { return Iam(handle, n, x, ix, r, false); }

API int cublasSgemmEx(H, int ta, int tb, int m, int n, int k, const float *al, const void *a, int qa, int lda, const void *b, int qb, int ldb, const float *be, void *c, int qc, int ldc) {
    return GemmAny(handle, "cublasSgemmEx", ta, tb, m, n, k, al, a, qa, lda, 0, b, qb, ldb, 0, be, c, qc, ldc, 0, 1, 68);
}
API int cublasGemmEx(H, int ta, int tb, int m, int n, int k, const void *al, const void *a, int qa, int lda, const void *b, int qb, int ldb, const void *be, void *c, int qc, int ldc, int compute, int) {
    return GemmAny(handle, "cublasGemmEx", ta, tb, m, n, k, al, a, qa, lda, 0, b, qb, ldb, 0, be, c, qc, ldc, 0, 1, compute);
}
API int cublasGemmStridedBatchedEx(H, int ta, int tb, int m, int n, int k, const void *al, const void *a, int qa, int lda, long long sa, const void *b, int qb, int ldb, long long sb, const void *be, void *c, int qc, int ldc, long long sc, int count, int compute, int) {
    return GemmAny(handle, "cublasGemmStridedBatchedEx", ta, tb, m, n, k, al, a, qa, lda, sa, b, qb, ldb, sb, be, c, qc, ldc, sc, count, compute);
}
