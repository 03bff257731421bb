package synth

import (
	"encoding/binary"
	"io"
	"math"
	"runtime"

	"github.com/coordbench/coordbench/engine/quant"
)

// source is SplitMix64 (Steele, Lea & Flood 2014): one addition and three
// multiply-xorshifts for 64 bits, and any two seeds give unrelated streams.
type source uint64

func (s *source) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	return mix(uint64(*s))
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// chunkBytes is about what is generated at once, whole blocks of it. Each chunk
// has its own random stream, so their order and the number of workers do not
// show in the file.
const chunkBytes = 1 << 20

// write generates the tensor chunk by chunk, on all processors, and writes the
// chunks in order.
func (t tensor) write(w io.Writer, s Shape, seed, index uint64) error {
	if t.fill != random {
		row := make([]float32, t.values())
		if t.fill == ropeFactors {
			copy(row, s.ropeFactors())
		} else {
			for i := range row {
				row[i] = 1
			}
		}
		b := make([]byte, 4*len(row))
		quant.Quantize(quant.F32, b, row)
		_, err := w.Write(b)
		return err
	}
	gen := newGenerator(t.typ, t.std)
	bb := int64(t.typ.BlockBytes())
	total := t.values() / int64(t.typ.BlockSize()) * bb
	step := chunkBytes / bb * bb
	chunks := int((total + step - 1) / step)

	workers := min(runtime.GOMAXPROCS(0), chunks)
	queues := make([]chan []byte, workers) // worker i generates chunks i, i+workers, …
	spare := make(chan []byte, 3*workers)
	for range cap(spare) {
		spare <- make([]byte, 0, step)
	}
	done := make(chan struct{})
	defer close(done)
	for i := range queues {
		queues[i] = make(chan []byte, 1)
		go func() {
			for c := i; c < chunks; c += workers {
				var b []byte
				select {
				case b = <-spare:
				case <-done:
					return
				}
				b = b[:min(step, total-int64(c)*step)]
				rng := source(mix(mix(mix(seed)^index) ^ uint64(c)))
				gen.blocks(b, &rng)
				select {
				case queues[i] <- b:
				case <-done:
					return
				}
			}
		}()
	}
	for c := range chunks {
		b := <-queues[c%workers]
		if _, err := w.Write(b); err != nil {
			return err
		}
		spare <- b
	}
	return nil
}

// tableBits is the size of the value and scale tables: 2^12 quantiles of the
// normal distribution, its tails ending at ±3.5 σ.
const tableBits = 12

// generator fills blocks of one type with random weights of mean 0 and one
// standard deviation, by writing the blocks' bits: quantising random floats
// would take a hundred times as long.
type generator struct {
	typ    quant.Type
	floats [1 << tableBits]uint32 // F32, F16, BF16: encoded quantiles
	scales [256]uint16            // block formats: d, over ±20% so that blocks differ
	mins   [256]uint16            // Q4_K, Q5_K: dmin of the same block
}

func newGenerator(t quant.Type, std float64) *generator {
	g := &generator{typ: t}
	for i := range g.floats {
		p := (float64(i) + 0.5) / (1 << tableBits)
		v := float32(std * math.Sqrt2 * math.Erfinv(2*p-1))
		switch t {
		case quant.F32:
			g.floats[i] = math.Float32bits(v)
		case quant.F16:
			g.floats[i] = uint32(quant.F32ToF16(v))
		case quant.BF16:
			g.floats[i] = uint32(quant.F32ToBF16(v))
		}
	}
	// With q uniform over n values, the standard deviation of d·q is
	// d·√((n²−1)/12). Where there is a group scale as well it is uniform over
	// a range, and d is divided by the root of its mean square.
	uniform := func(n float64) float64 { return math.Sqrt((n*n - 1) / 12) }
	var unit, centre float64
	switch t {
	case quant.Q8_0:
		unit = uniform(255) // −127…127
	case quant.Q4_0:
		unit = uniform(16)
	case quant.Q4_K:
		unit, centre = uniform(16)*rms(32, 63), 7.5
	case quant.Q5_K:
		unit, centre = uniform(32)*rms(32, 63), 15.5
	case quant.Q6_K:
		unit = uniform(64) * rms(64, 127)
	default:
		return g
	}
	for i := range g.scales {
		d := std / unit * (0.8 + 0.4*float64(i)/255)
		if t == quant.Q4_0 && i%2 == 1 {
			d = -d // the range −8…7 is lopsided; the reference quantiser uses both signs too
		}
		g.scales[i] = quant.F32ToF16(float32(d))
		g.mins[i] = quant.F32ToF16(quant.F16ToF32(g.scales[i]) * float32(centre))
	}
	return g
}

// rms is the root mean square of the integers lo…hi.
func rms(lo, hi int) float64 {
	var sum float64
	for i := lo; i <= hi; i++ {
		sum += float64(i * i)
	}
	return math.Sqrt(sum / float64(hi-lo+1))
}

// blocks fills b, a whole number of blocks.
func (g *generator) blocks(b []byte, rng *source) {
	le := binary.LittleEndian
	switch g.typ {
	case quant.F32:
		for ; len(b) > 0; b = b[4:] {
			le.PutUint32(b, g.floats[rng.next()>>(64-tableBits)])
		}
	case quant.F16, quant.BF16:
		for ; len(b) > 0; b = b[2:] {
			le.PutUint16(b, uint16(g.floats[rng.next()>>(64-tableBits)]))
		}
	case quant.Q8_0:
		for ; len(b) > 0; b = b[34:] {
			le.PutUint16(b, g.scales[rng.next()>>56])
			for i := 2; i < 34; i += 8 {
				le.PutUint64(b[i:], noMin(rng.next()))
			}
		}
	case quant.Q4_0:
		for ; len(b) > 0; b = b[18:] {
			le.PutUint16(b, g.scales[rng.next()>>56])
			le.PutUint64(b[2:], rng.next())
			le.PutUint64(b[10:], rng.next())
		}
	case quant.Q4_K, quant.Q5_K:
		n := g.typ.BlockBytes()
		for ; len(b) > 0; b = b[n:] {
			// Scale and minimum of a group are the same number 32…63, and
			// dmin = d·centre, so that each group has mean 0.
			s := rng.next() >> 56
			le.PutUint16(b, g.scales[s])
			le.PutUint16(b[2:], g.mins[s])
			groupScales(b[4:16], rng.next())
			for i := 16; i < n; i += 8 {
				le.PutUint64(b[i:], rng.next())
			}
		}
	case quant.Q6_K:
		for ; len(b) > 0; b = b[210:] {
			for i := 0; i < 192; i += 8 {
				le.PutUint64(b[i:], rng.next())
			}
			// Scales ±64…±127 with a random sign: q −32…31 is lopsided.
			for i := 192; i < 208; i += 8 {
				le.PutUint64(b[i:], signedScales(rng.next()))
			}
			le.PutUint16(b[208:], g.scales[rng.next()>>56])
		}
	}
}

// noMin replaces bytes of −128 by 0: the reference quantiser never makes them
// in Q8_0, and kernels may rely on that.
func noMin(x uint64) uint64 {
	const low, high = 0x0101010101010101, 0x8080808080808080
	if v := x ^ high; (v-low)&^v&high != 0 {
		for i := 0; i < 64; i += 8 {
			if byte(x>>i) == 0x80 {
				x &^= 0xff << i
			}
		}
	}
	return x
}

// signedScales turns each byte into an int8 of magnitude 64…127.
func signedScales(x uint64) uint64 {
	var out uint64
	for i := 0; i < 64; i += 8 {
		v := int8(64 | x>>i&63)
		if x>>i&64 != 0 {
			v = -v
		}
		out |= uint64(uint8(v)) << i
	}
	return out
}

// groupScales packs eight scales 32…63, each also the group's minimum, into
// the 12 bytes of a Q4_K or Q5_K block (layout: quant.Dequantize).
func groupScales(b []byte, x uint64) {
	for j := range 4 {
		lo, hi := byte(32|x&31), byte(32|x>>5&31)
		x >>= 10
		b[j] = lo | hi>>4<<6
		b[4+j] = lo | hi>>4<<6
		b[8+j] = hi&15 | hi&15<<4
	}
}
