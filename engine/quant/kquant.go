package quant

import (
	"encoding/binary"
	"math"
)

// groupMaxEps is GROUP_MAX_EPS of ggml-quants.c: a group whose largest
// magnitude is below it counts as zero.
const groupMaxEps = 1e-15

// scaleMin unpacks the 6-bit scale and minimum of group j (0…7) of a Q4_K or
// Q5_K block from its 12 scale bytes: groups 0–3 are the low six bits of bytes
// 0–3 and 4–7; groups 4–7 have four bits in bytes 8–11 and two in the top of
// those (get_scale_min_k4).
func scaleMin(j int, s []byte) (scale, minimum byte) {
	if j < 4 {
		return s[j] & 63, s[j+4] & 63
	}
	return s[j+4]&15 | s[j-4]>>6<<4, s[j+4]>>4 | s[j]>>6<<4
}

// putScaleMin is the inverse of scaleMin for a block whose groups are put in
// ascending order into zeroed bytes.
func putScaleMin(j int, s []byte, scale, minimum byte) {
	if j < 4 {
		s[j], s[j+4] = scale, minimum
		return
	}
	s[j+4] = scale&15 | minimum&15<<4
	s[j-4] |= scale >> 4 << 6
	s[j] |= minimum >> 4 << 6
}

// groupScale returns d·sc and dmin·m of group j: value = scale·q − minimum.
func groupScale(b []byte, j int) (scale, minimum float32) {
	sc, m := scaleMin(j, b[4:16])
	d := F16ToF32(binary.LittleEndian.Uint16(b))
	dmin := F16ToF32(binary.LittleEndian.Uint16(b[2:]))
	return d * float32(sc), dmin * float32(m)
}

// Q4_K: f16 d, f16 dmin, 12 scale bytes, 128 bytes of nibbles. Byte i of the
// 32 bytes of pair p holds value i of group 2p (low) and of group 2p+1 (high).
func dequantizeQ4K(y []float32, b []byte) {
	qs := b[16:q4KBytes]
	for j := range 8 {
		d, m := groupScale(b, j)
		for i, q := range qs[32*(j/2) : 32*(j/2)+32] {
			y[32*j+i] = float32(d*float32(q>>(4*(j&1))&15)) - m
		}
	}
}

func quantizeQ4K(b []byte, x []float32) {
	var q [superBlock]byte
	quantizeK(b[:16], q[:], x, 15, -1, 20)
	qs := b[16:q4KBytes]
	for p := range 4 {
		for i := range 32 {
			qs[32*p+i] = q[64*p+i] | q[64*p+32+i]<<4
		}
	}
}

// Q5_K: as Q4_K with 32 bytes of fifth bits before the nibbles; bit j of byte
// i belongs to value i of group j.
func dequantizeQ5K(y []float32, b []byte) {
	qh, qs := b[16:48], b[48:q5KBytes]
	for j := range 8 {
		d, m := groupScale(b, j)
		for i, q := range qs[32*(j/2) : 32*(j/2)+32] {
			v := q>>(4*(j&1))&15 | qh[i]>>j&1<<4
			y[32*j+i] = float32(d*float32(v)) - m
		}
	}
}

func quantizeQ5K(b []byte, x []float32) {
	var q [superBlock]byte
	quantizeK(b[:16], q[:], x, 31, -0.5, 15)
	qh, qs := b[16:48], b[48:q5KBytes]
	clear(qh)
	for p := range 4 {
		for i := range 32 {
			lo, hi := q[64*p+i], q[64*p+32+i]
			qs[32*p+i] = lo&15 | hi<<4
			qh[i] |= lo>>4<<(2*p) | hi>>4<<(2*p+1)
		}
	}
}

// quantizeK fills the head of a Q4_K or Q5_K block (d, dmin, 12 scale bytes)
// and the unpacked quants q in 0…nmax. rmin and steps set the scale search of
// makeQKX2; its step is 0.1.
func quantizeK(head, q []byte, x []float32, nmax int, rmin float32, steps int) {
	var scales, mins [8]float32
	var weights [32]float32
	var maxScale, maxMin float32
	for j := range 8 {
		g := x[32*j : 32*j+32]
		var sum2 float32
		for _, v := range g {
			sum2 += float32(v * v)
		}
		rms := float32(math.Sqrt(float64(sum2 / 32)))
		for i, v := range g {
			weights[i] = rms + abs(v)
		}
		scales[j], mins[j] = makeQKX2(nmax, g, weights[:], q[32*j:32*j+32], rmin, 0.1, steps)
		maxScale, maxMin = max(maxScale, scales[j]), max(maxMin, mins[j])
	}
	clear(head)
	binary.LittleEndian.PutUint16(head, F32ToF16(maxScale/63))
	binary.LittleEndian.PutUint16(head[2:], F32ToF16(maxMin/63))
	var invScale, invMin float32
	if maxScale > 0 {
		invScale = 63 / maxScale
	}
	if maxMin > 0 {
		invMin = 63 / maxMin
	}
	for j := range 8 {
		putScaleMin(j, head[4:16], byte(clampRound(invScale*scales[j], 0, 63)), byte(clampRound(invMin*mins[j], 0, 63)))
	}
	for j := range 8 {
		d, m := groupScale(head, j)
		if d == 0 { // the quants of the search stay, as in ggml; they have no effect
			continue
		}
		for i, v := range x[32*j : 32*j+32] {
			q[32*j+i] = byte(clampRound((v+m)/d, 0, nmax))
		}
	}
}

// makeQKX2 finds scale, minimum (≥ 0) and quants q in 0…nmax for
// x ≈ scale·q − minimum, by weighted least squares over steps+1 candidate
// scales; the first best candidate wins (make_qkx2_quants with use_mad false).
// Like there, a candidate starts from the minimum of the best one so far, not
// from that of x.
func makeQKX2(nmax int, x, weights []float32, q []byte, rmin, rdelta float32, steps int) (scale, minimum float32) {
	lo, hi := x[0], x[0]
	var sumW, sumX float32
	for i, v := range x {
		lo, hi = min(lo, v), max(hi, v)
		sumW += weights[i]
		sumX += float32(weights[i] * v)
	}
	lo = min(lo, 0)
	iscale := float32(nmax) / (hi - lo)
	if hi == lo || math.IsInf(float64(iscale), 0) { // Inf: a range so small that its f16 scale is 0
		clear(q)
		return 0, -lo
	}
	scale = 1 / iscale
	var best float32
	for i, v := range x {
		q[i] = byte(clampRound(iscale*(v-lo), 0, nmax))
		diff := float32(scale*float32(q[i])) + lo - v
		best += float32(weights[i] * float32(diff*diff))
	}
	var candidate [32]byte
	for s := 0; s <= steps; s++ {
		iscale := (rmin + float32(rdelta*float32(s)) + float32(nmax)) / (hi - lo)
		var sumL, sumL2, sumXL float32
		for i, v := range x {
			candidate[i] = byte(clampRound(iscale*(v-lo), 0, nmax))
			l, w := float32(candidate[i]), weights[i]
			sumL += float32(w * l)
			sumL2 += float32(float32(w*l) * l)
			sumXL += float32(float32(w*l) * v)
		}
		det := float32(sumW*sumL2) - float32(sumL*sumL)
		if !(det > 0) {
			continue
		}
		thisScale := (float32(sumW*sumXL) - float32(sumX*sumL)) / det
		thisMin := (float32(sumL2*sumX) - float32(sumL*sumXL)) / det
		if thisMin > 0 {
			thisMin = 0
			thisScale = sumXL / sumL2
		}
		var cur float32
		for i, v := range x {
			diff := float32(thisScale*float32(candidate[i])) + thisMin - v
			cur += float32(weights[i] * float32(diff*diff))
		}
		if cur < best {
			best, scale, lo = cur, thisScale, thisMin
			copy(q, candidate[:])
		}
	}
	return scale, -lo
}

// Q6_K: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 int8 scales,
// f16 d. Each half of 128 values is four runs of 32: runs 0 and 1 have their
// low bits in the low nibbles of 64 bytes, runs 2 and 3 in the high ones; the
// high bits of run r are bits 2r, 2r+1 of 32 bytes.
func dequantizeQ6K(y []float32, b []byte) {
	d := F16ToF32(binary.LittleEndian.Uint16(b[208:]))
	for h := range 2 {
		ql, qh, sc := b[64*h:64*h+64], b[128+32*h:128+32*h+32], b[192+8*h:192+8*h+8]
		for r := range 4 {
			for i := range 32 {
				q := ql[32*(r&1)+i]>>(4*(r>>1))&15 | qh[i]>>(2*r)&3<<4
				s := float32(d * float32(int8(sc[2*r+i/16])))
				y[128*h+32*r+i] = s * float32(int(q)-32)
			}
		}
	}
}

func quantizeQ6K(b []byte, x []float32) {
	clear(b)
	var scales [16]float32
	var q [superBlock]byte // biased by 32
	var maxScale float32   // the scale of largest magnitude, with its sign
	for g := range scales {
		scales[g] = makeQX(32, x[16*g:16*g+16], q[16*g:16*g+16])
		if abs(scales[g]) > abs(maxScale) {
			maxScale = scales[g]
		}
	}
	if abs(maxScale) < groupMaxEps {
		return
	}
	iscale := -128 / maxScale
	binary.LittleEndian.PutUint16(b[208:], F32ToF16(1/iscale))
	d := F16ToF32(binary.LittleEndian.Uint16(b[208:]))
	for g := range scales {
		s := int8(clampRound(iscale*scales[g], -128, 127))
		b[192+g] = byte(s)
		gd := float32(d * float32(s))
		if gd == 0 { // as in quantizeK
			continue
		}
		for i, v := range x[16*g : 16*g+16] {
			q[16*g+i] = byte(clampRound(v/gd, -32, 31) + 32)
		}
	}
	for h := range 2 {
		ql, qh, q := b[64*h:64*h+64], b[128+32*h:128+32*h+32], q[128*h:128*h+128]
		for i := range 32 {
			ql[i] = q[i]&15 | q[64+i]<<4
			ql[32+i] = q[32+i]&15 | q[96+i]<<4
			qh[i] = q[i]>>4 | q[32+i]>>4<<2 | q[64+i]>>4<<4 | q[96+i]>>4<<6
		}
	}
}

// makeQX finds scale and quants for x ≈ scale·(q − nmax), q in 0…2·nmax−1,
// that minimise the error weighted by x² over 19 candidates (make_qx_quants,
// rmse_type 1).
func makeQX(nmax int, x []float32, q []byte) float32 {
	var amax, signed float32
	for _, v := range x {
		if a := abs(v); a > amax {
			amax, signed = a, v
		}
	}
	if amax < groupMaxEps {
		clear(q)
		return 0
	}
	var candidate [16]byte
	try := func(iscale float32) (sumLX, sumL2 float32) {
		for i, v := range x {
			n := clampRound(iscale*v, -nmax, nmax-1)
			candidate[i] = byte(n + nmax)
			l, w := float32(n), float32(v*v)
			sumLX += float32(float32(w*v) * l)
			sumL2 += float32(float32(w*l) * l)
		}
		return sumLX, sumL2
	}
	sumLX, sumL2 := try(-float32(nmax) / signed)
	copy(q, candidate[:])
	var scale float32
	if sumL2 != 0 {
		scale = sumLX / sumL2
	}
	best := scale * sumLX
	for s := -9; s <= 9; s++ {
		if s == 0 {
			continue
		}
		sumLX, sumL2 := try(-(float32(nmax) + float32(0.1*float32(s))) / signed)
		if sumL2 > 0 && float32(sumLX*sumLX) > float32(best*sumL2) {
			scale = sumLX / sumL2
			best = scale * sumLX
			copy(q, candidate[:])
		}
	}
	return scale
}

// clampRound rounds half to even, as ggml's nearest_int does, into lo…hi.
func clampRound(v float32, lo, hi int) int {
	switch r := math.RoundToEven(float64(v)); {
	case r > float64(hi):
		return hi
	case r > float64(lo):
		return int(r)
	}
	return lo
}
