package gguf

import (
	"fmt"
	"math"
)

// ValueType is GGUF's number for a metadata type.
type ValueType uint32

// The metadata types, all of them.
const (
	Uint8   ValueType = 0
	Int8    ValueType = 1
	Uint16  ValueType = 2
	Int16   ValueType = 3
	Uint32  ValueType = 4
	Int32   ValueType = 5
	Float32 ValueType = 6
	Bool    ValueType = 7
	String  ValueType = 8
	Array   ValueType = 9
	Uint64  ValueType = 10
	Int64   ValueType = 11
	Float64 ValueType = 12
)

var valueTypeNames = [...]string{"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "bool", "string", "array", "uint64", "int64", "float64"}

func (t ValueType) String() string {
	if int64(t) < int64(len(valueTypeNames)) {
		return valueTypeNames[t]
	}
	return fmt.Sprintf("type(%d)", uint32(t))
}

// Value is one metadata value.
//
// Any is the Go value of Type: uint8 … float64, bool, string; for an array a
// non-nil slice of the element type (an array of bool is []bool, an array of
// arrays is []Value whose members have Type Array). Callers must not change
// its elements.
type Value struct {
	Type ValueType
	Elem ValueType // of an Array; otherwise 0
	Any  any
}

// describe names the type for an error message.
func (v Value) describe() string {
	if v.Type == Array {
		return "array of " + v.Elem.String()
	}
	return v.Type.String()
}

// ValueOf wraps a Go value of one of the types that Value.Any can have. Nil
// slices become empty ones; []Value makes an array of arrays. A Value is
// returned as it is.
func ValueOf(v any) (Value, error) {
	arr := func(elem ValueType, s any) (Value, error) { return Value{Array, elem, s}, nil }
	switch v := v.(type) {
	case Value:
		return v, nil
	case uint8:
		return Value{Uint8, 0, v}, nil
	case int8:
		return Value{Int8, 0, v}, nil
	case uint16:
		return Value{Uint16, 0, v}, nil
	case int16:
		return Value{Int16, 0, v}, nil
	case uint32:
		return Value{Uint32, 0, v}, nil
	case int32:
		return Value{Int32, 0, v}, nil
	case float32:
		return Value{Float32, 0, v}, nil
	case bool:
		return Value{Bool, 0, v}, nil
	case string:
		return Value{String, 0, v}, nil
	case uint64:
		return Value{Uint64, 0, v}, nil
	case int64:
		return Value{Int64, 0, v}, nil
	case float64:
		return Value{Float64, 0, v}, nil
	case []uint8:
		return arr(Uint8, notNil(v))
	case []int8:
		return arr(Int8, notNil(v))
	case []uint16:
		return arr(Uint16, notNil(v))
	case []int16:
		return arr(Int16, notNil(v))
	case []uint32:
		return arr(Uint32, notNil(v))
	case []int32:
		return arr(Int32, notNil(v))
	case []float32:
		return arr(Float32, notNil(v))
	case []bool:
		return arr(Bool, notNil(v))
	case []string:
		return arr(String, notNil(v))
	case []uint64:
		return arr(Uint64, notNil(v))
	case []int64:
		return arr(Int64, notNil(v))
	case []float64:
		return arr(Float64, notNil(v))
	case []Value:
		for i, m := range v {
			if m.Type != Array {
				return Value{}, fmt.Errorf("gguf: member %d of an array of arrays is %s", i, m.describe())
			}
		}
		return arr(Array, notNil(v))
	}
	return Value{}, fmt.Errorf("gguf: metadata cannot hold a %T", v)
}

func notNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// Keys returns the metadata keys in file order.
func (f *File) Keys() []string { return append([]string(nil), f.keys...) }

// Value returns the value of key.
func (f *File) Value(key string) (Value, bool) {
	v, ok := f.values[key]
	return v, ok
}

func (f *File) wrongType(key string, v Value, want string) error {
	return fmt.Errorf("%s: metadata %q is %s, want %s", f.Path, key, v.describe(), want)
}

// lookup reports a missing key as an error that wraps ErrNoKey.
func (f *File) lookup(key string) (Value, error) {
	v, ok := f.values[key]
	if !ok {
		return v, fmt.Errorf("%s: %w %q", f.Path, ErrNoKey, key)
	}
	return v, nil
}

// String returns a string value. The error of this and of the other getters
// wraps ErrNoKey when the key is missing.
func (f *File) String(key string) (string, error) {
	v, err := f.lookup(key)
	if err != nil {
		return "", err
	}
	s, ok := v.Any.(string)
	if !ok {
		return "", f.wrongType(key, v, "string")
	}
	return s, nil
}

// Uint returns a value of any integer type that is not negative.
func (f *File) Uint(key string) (uint64, error) {
	v, err := f.lookup(key)
	if err != nil {
		return 0, err
	}
	var i int64
	switch x := v.Any.(type) {
	case uint8:
		return uint64(x), nil
	case uint16:
		return uint64(x), nil
	case uint32:
		return uint64(x), nil
	case uint64:
		return x, nil
	case int8:
		i = int64(x)
	case int16:
		i = int64(x)
	case int32:
		i = int64(x)
	case int64:
		i = x
	default:
		return 0, f.wrongType(key, v, "an integer")
	}
	if i < 0 {
		return 0, fmt.Errorf("%s: metadata %q is %d, want an integer that is not negative", f.Path, key, i)
	}
	return uint64(i), nil
}

// Float returns a float32 or float64 value.
func (f *File) Float(key string) (float64, error) {
	v, err := f.lookup(key)
	if err != nil {
		return 0, err
	}
	switch x := v.Any.(type) {
	case float32:
		return float64(x), nil
	case float64:
		return x, nil
	}
	return 0, f.wrongType(key, v, "a floating-point number")
}

// Bool returns a bool value.
func (f *File) Bool(key string) (bool, error) {
	v, err := f.lookup(key)
	if err != nil {
		return false, err
	}
	b, ok := v.Any.(bool)
	if !ok {
		return false, f.wrongType(key, v, "bool")
	}
	return b, nil
}

// Strings returns an array of strings, not a copy.
func (f *File) Strings(key string) ([]string, error) {
	v, err := f.lookup(key)
	if err != nil {
		return nil, err
	}
	s, ok := v.Any.([]string)
	if !ok {
		return nil, f.wrongType(key, v, "an array of strings")
	}
	return s, nil
}

// Ints returns an array of any integer type, converted. A uint64 above the
// range of int64 is an error.
func (f *File) Ints(key string) ([]int64, error) {
	v, err := f.lookup(key)
	if err != nil {
		return nil, err
	}
	switch x := v.Any.(type) {
	case []uint8:
		return convert[int64](x), nil
	case []int8:
		return convert[int64](x), nil
	case []uint16:
		return convert[int64](x), nil
	case []int16:
		return convert[int64](x), nil
	case []uint32:
		return convert[int64](x), nil
	case []int32:
		return convert[int64](x), nil
	case []int64:
		return convert[int64](x), nil
	case []uint64:
		for i, n := range x {
			if n > math.MaxInt64 {
				return nil, fmt.Errorf("%s: metadata %q: member %d is %d, above the int64 range", f.Path, key, i, n)
			}
		}
		return convert[int64](x), nil
	}
	return nil, f.wrongType(key, v, "an array of integers")
}

// Floats returns an array of float32 or float64, converted.
func (f *File) Floats(key string) ([]float64, error) {
	v, err := f.lookup(key)
	if err != nil {
		return nil, err
	}
	switch x := v.Any.(type) {
	case []float32:
		return convert[float64](x), nil
	case []float64:
		return convert[float64](x), nil
	}
	return nil, f.wrongType(key, v, "an array of floating-point numbers")
}

type number interface {
	~uint8 | ~int8 | ~uint16 | ~int16 | ~uint32 | ~int32 | ~uint64 | ~int64 | ~float32 | ~float64
}

func convert[T, S number](s []S) []T {
	out := make([]T, len(s))
	for i, v := range s {
		out[i] = T(v)
	}
	return out
}

// The Or getters return def when the key is missing. A value of the wrong type
// is still an error.

// StringOr is String with a default.
func (f *File) StringOr(key, def string) (string, error) { return or(f, key, def, f.String) }

// UintOr is Uint with a default.
func (f *File) UintOr(key string, def uint64) (uint64, error) { return or(f, key, def, f.Uint) }

// FloatOr is Float with a default.
func (f *File) FloatOr(key string, def float64) (float64, error) { return or(f, key, def, f.Float) }

// BoolOr is Bool with a default.
func (f *File) BoolOr(key string, def bool) (bool, error) { return or(f, key, def, f.Bool) }

// StringsOr is Strings with a default.
func (f *File) StringsOr(key string, def []string) ([]string, error) {
	return or(f, key, def, f.Strings)
}

// IntsOr is Ints with a default.
func (f *File) IntsOr(key string, def []int64) ([]int64, error) { return or(f, key, def, f.Ints) }

// FloatsOr is Floats with a default.
func (f *File) FloatsOr(key string, def []float64) ([]float64, error) {
	return or(f, key, def, f.Floats)
}

func or[T any](f *File, key string, def T, get func(string) (T, error)) (T, error) {
	if _, ok := f.values[key]; !ok {
		return def, nil
	}
	return get(key)
}
