// Verifies the same tokens with golang-jwt, on request; see bench/verify_peers.py for what is said and answered.
package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/golang-jwt/jwt/v5"
)

type work struct {
	Alg      string            `json:"alg"`
	Token    string            `json:"legacy_token"`
	Jwk      map[string]string `json:"jwk"`
	Issuer   string            `json:"issuer"`
	Audience string            `json:"audience"`
}

func octets(text string) []byte {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return data
}

func number(text string) *big.Int { return new(big.Int).SetBytes(octets(text)) }

func key(jwk map[string]string) any {
	switch jwk["kty"] {
	case "EC":
		return &ecdsa.PublicKey{Curve: elliptic.P256(), X: number(jwk["x"]), Y: number(jwk["y"])}
	case "RSA":
		return &rsa.PublicKey{N: number(jwk["n"]), E: int(number(jwk["e"]).Int64())}
	case "OKP":
		return ed25519.PublicKey(octets(jwk["x"]))
	default:
		return octets(jwk["k"])
	}
}

func main() {
	runtime.GOMAXPROCS(1)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<20)
	lines.Scan()
	var all []work
	if err := json.Unmarshal(lines.Bytes(), &all); err != nil {
		panic(err)
	}
	verify := map[string]func(){}
	for _, one := range all {
		public := key(one.Jwk)
		name := one.Alg
		if name == "Ed25519" {
			name = "EdDSA"
		}
		parser := jwt.NewParser(jwt.WithValidMethods([]string{name}), jwt.WithIssuer(one.Issuer),
			jwt.WithAudience(one.Audience), jwt.WithExpirationRequired(), jwt.WithIssuedAt())
		token := one.Token
		verify[one.Alg] = func() {
			parsed, err := parser.Parse(token, func(*jwt.Token) (any, error) { return public, nil })
			if err != nil || !parsed.Valid {
				panic(err)
			}
		}
	}
	algorithms := []string{}
	for alg, run := range verify {
		for i := 0; i < 200; i++ {
			run()
		}
		algorithms = append(algorithms, alg)
	}
	told, err := json.Marshal(map[string]any{"golang-jwt": map[string]any{"version": version(), "algorithms": algorithms}})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(told))
	for lines.Scan() {
		var library, alg string
		var n int
		fmt.Sscan(lines.Text(), &library, &alg, &n)
		start := processorTime()
		for i := 0; i < n; i++ {
			verify[alg]()
		}
		fmt.Println(processorTime() - start)
	}
}

// version is golang-jwt's, and the compiler's.
func version() string {
	built, _ := debug.ReadBuildInfo()
	for _, module := range built.Deps {
		if module.Path == "github.com/golang-jwt/jwt/v5" {
			return module.Version + ", " + runtime.Version()
		}
	}
	return runtime.Version()
}

// processorTime is what this process has used, garbage collection included, in nanoseconds.
func processorTime() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}
