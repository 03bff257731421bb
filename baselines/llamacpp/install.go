package llamacpp

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// PackageVersion is the release of the npm package that Install takes: it
// ships prebuilt shared libraries for every x86-64 level and for arm64
// (withcatai/node-llama-cpp, MIT; llama.cpp itself is MIT).
const PackageVersion = "3.22.1"

// InstallDir is where Install puts the libraries by default and where Load
// looks after the flag and the environment: a folder in the user's cache.
func InstallDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("llama.cpp: %w\n  hint: name a folder", err)
	}
	return filepath.Join(cache, "coordbench", "llamacpp-"+PackageVersion), nil
}

// npmPackage is the package for this machine.
func npmPackage() (string, error) {
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	if runtime.GOOS != "linux" || arch == "" {
		return "", fmt.Errorf("llama.cpp: no prebuilt libraries for %s/%s\n  hint: build llama.cpp with -DBUILD_SHARED_LIBS=ON and name its folder with --llamacpp", runtime.GOOS, runtime.GOARCH)
	}
	return "@node-llama-cpp/linux-" + arch + "@" + PackageVersion, nil
}

// An Installed library file with its checksum.
type Installed struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// Install fetches the package with npm and puts its shared libraries into dir,
// each written beside its name and renamed, so that an interrupted
// installation leaves no half file.
func Install(ctx context.Context, dir string) ([]Installed, error) {
	name, err := npmPackage()
	if err != nil {
		return nil, err
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return nil, errors.New("llama.cpp: npm is not installed, and the prebuilt libraries come as an npm package\n  hint: install node and npm, or name a folder with --llamacpp")
	}
	tmp, err := os.MkdirTemp("", "coordbench-llamacpp-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	cmd := exec.CommandContext(ctx, npm, "pack", "--silent", name)
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("llama.cpp: npm pack %s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	archives, err := filepath.Glob(filepath.Join(tmp, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return nil, fmt.Errorf("llama.cpp: npm pack %s left %d archives, want 1", name, len(archives))
	}
	f, err := os.Open(archives[0])
	if err != nil {
		return nil, err
	}
	defer f.Close()
	files, err := unpack(f, dir)
	if err != nil {
		return nil, fmt.Errorf("llama.cpp: %s: %w", name, err)
	}
	return files, nil
}

var versioned = regexp.MustCompile(`^(lib(?:llama|ggml))\.v[0-9.]+\.so$`)

// unpack writes the shared libraries of a gzipped tar archive into dir, and
// libllama.so and libggml.so as links to their versioned names.
func unpack(r io.Reader, dir string) ([]Installed, error) {
	gz, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var files []Installed
	for tr := tar.NewReader(gz); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		name := path.Base(h.Name)
		if h.Typeflag != tar.TypeReg || !strings.HasSuffix(name, ".so") {
			continue
		}
		in, err := writeLibrary(filepath.Join(dir, name), tr)
		if err != nil {
			return nil, err
		}
		files = append(files, in)
		if m := versioned.FindStringSubmatch(name); m != nil {
			link := filepath.Join(dir, m[1]+".so")
			if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, err
			}
			if err := os.Symlink(name, link); err != nil {
				return nil, err
			}
		}
	}
	if len(files) == 0 {
		return nil, errors.New("the archive holds no shared library")
	}
	slices.SortFunc(files, func(a, b Installed) int { return strings.Compare(a.File, b.File) })
	return files, nil
}

func writeLibrary(to string, r io.Reader) (Installed, error) {
	f, err := os.CreateTemp(filepath.Dir(to), filepath.Base(to)+".part-")
	if err != nil {
		return Installed{}, err
	}
	defer os.Remove(f.Name())
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), r)
	if err == nil {
		err = f.Chmod(0o755)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return Installed{}, fmt.Errorf("%s: %w", to, err)
	}
	if err := os.Rename(f.Name(), to); err != nil {
		return Installed{}, err
	}
	return Installed{File: filepath.Base(to), SHA256: hex.EncodeToString(sum.Sum(nil)), Size: n}, nil
}
