// Package kernels is the arithmetic of the engine: matrices times small batches of
// rows, attention, and the operations on single rows, each at the speed that the
// machine's memory or multipliers allow.
//
// A process uses one path, a set of instructions, for everything: the best that the
// CPU has, unless $COORDBENCH_KERNELS names another. Path goes into records;
// $COORDBENCH_REQUIRE makes a silent fallback an error. Every path computes a row's
// outputs in one order whatever other rows are there, so that they have the same
// bits alone and in any batch.
//
// Plain Go without build tag is the meaning of every kernel, and the path "generic".
// What a path lacks falls back to it. The build tag purego leaves only it.
//
//	operation          path         file                             CPU feature            tested under
//	Mul Q8_0, Q4_0     avx512-vnni  mul_amd64.s (_gen)               AVX-512 F BW VL DQ     go test, on such a CPU
//	                                                                 VNNI
//	                   avx-vnni     vnni_amd64.s (_gen/vnni)         AVX-VNNI, avx2's       go test, on such a CPU
//	                   avx2         mul_amd64.s (_gen)               AVX2 FMA F16C          go test, on such a CPU
//	                   i8mm         mul_arm64.s (_gen/arm64)         FEAT_I8MM (SMMLA),     qemu -cpu max
//	                                                                 FEAT_DotProd
//	                   dotprod      mul_arm64.s (_gen/arm64)         FEAT_DotProd (SDOT)    qemu -cpu cortex-a76, max
//	                   neon         mul_arm64.s (_gen/arm64)         Armv8.0 (SMULL)        qemu -cpu cortex-a53, cortex-a76, max
//	                   generic      mul.go                           none                   everywhere
//	Mul F32, F16,      avx512-vnni  mul_amd64.s (_gen)               AVX-512 F              go test, on such a CPU
//	BF16               avx2         mul_amd64.s (_gen)               AVX2 FMA F16C          go test, on such a CPU
//	                   arm64 paths  mul_arm64.s (_gen/arm64)         Armv8.0 (FMLA, FCVTL)  qemu, all three
//	                   generic      mul.go                           none                   everywhere
//	Mul Q4_K, Q5_K,    avx512-vnni  kquant_amd64.s (_gen/kquant)     AVX-512 F BW VL DQ     go test, on such a CPU
//	Q6_K                                                             VNNI
//	                   avx-vnni     vnni_amd64.s (_gen/vnni)         AVX-VNNI, avx2's       go test, on such a CPU
//	                   avx2         kquant_amd64.s (_gen/kquant)     AVX2 FMA F16C          go test, on such a CPU
//	                   others       kquant.go                        none                   everywhere
//	SetRow (quantise)  avx512-vnni  rows_amd64.s                     AVX-512 F DQ           go test, on such a CPU
//	                   avx2         rows_avx2_amd64.s                AVX2                   go test, on such a CPU
//	                   arm64 paths  rows_arm64.s                     Armv8.0                qemu, all three
//	                   generic      activations.go                   none                   everywhere
//	Scores, Mix        avx512-vnni  attend_amd64.s (_gen/attend)     AVX-512 F              go test, on such a CPU
//	                   avx2         attend_amd64.s (_gen/attend)     AVX2 FMA F16C          go test, on such a CPU
//	                   arm64 paths  attend_arm64.s (_gen/arm64)      Armv8.0 (FMLA, FCVTL)  qemu, all three
//	                   generic      attend.go                        none                   everywhere
//	RMSNorm, Add,      avx512-vnni  rows_amd64.s                     AVX-512 F              go test, on such a CPU
//	Scale, SwiGLU,     avx2         rows_avx2_amd64.s                AVX2 FMA F16C          go test, on such a CPU
//	F32ToF16, Max,     arm64 paths  rows_arm64.s                     Armv8.0                qemu, all three
//	ArgMax, ExpSum     generic      rows.go                          none                   everywhere
//	RopeNeox, RopeNorm all          rows.go                          none                   everywhere
//
// avx-vnni takes from avx2 what it has no row for; an arm64 path includes those below
// it. Instructions that Go's assembler lacks are words: those of arm64 in
// neon_arm64.h, each with its section of the architecture's manual, those of AVX-VNNI
// written by _gen/vnni. qemu is what "make test-arm64" runs: qemu-aarch64-static of
// Debian's qemu-user-static, where a kernel that a CPU cannot run ends in SIGILL.
package kernels
