// Go's net/http: refused and good calls in turn over kept connections. Arguments: the gateway's address and a key.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

var client = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxConnsPerHost: 1}}

func post(path, key string, body []byte) int {
	request, err := http.NewRequest("POST", os.Args[1]+path, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	// Without it the client may send a call again by itself, and hide what is to be seen.
	request.GetBody = nil
	if key != "" {
		request.Header.Set("X-Api-Key", key)
	}
	answer, err := client.Do(request)
	if err != nil {
		fmt.Fprintln(os.Stderr, len(body), path, err)
		return 0
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		fmt.Fprintln(os.Stderr, len(body), path, err)
		return 0
	}
	return answer.StatusCode
}

func main() {
	for _, size := range []int{10, 300, 10_000, 100_000} {
		body := bytes.Repeat([]byte("x"), size)
		refused, good := 0, 0
		for turn := range 20 {
			status, wanted := 0, 401
			if turn%2 == 0 {
				status = post("/stub", "", body)
			} else {
				status, wanted = post("/nowhere", os.Args[2], body), 404
			}
			if status == wanted {
				refused++
			}
			if post("/stub", os.Args[2], body) == 200 {
				good++
			}
		}
		fmt.Println(size, "refused", refused, "good", good)
	}
}
