// Command gen writes workloads/data/*.yaml from the held-out prompts of the
// embedded model's corpus generator.
//
// heldout.jsonl comes from the seeded generator that the demo model's recipe
// publishes (gen.py heldout, 80 prompts per task, released under CC0-1.0); every
// name, number and text in it is invented. The model never saw these prompts,
// but it was trained on the same sentence frames.
//
//	go run ./workloads/_gen heldout.jsonl workloads/data
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/coordbench/coordbench/workloads"
)

var descriptions = map[string]string{
	"summary": "summaries of invented news articles",
	"rag":     "answers from retrieved passages, with the number of the passage",
	"ui":      "actions of a phone agent for a described screen",
	"tweet":   "drafts rewritten in the style of a user's past posts",
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: gen HELDOUT.JSONL FOLDER")
	}
	f, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	sets := map[string]*workloads.Set{}
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var l struct {
			ID, Task, Group, Reference string
			Messages                   []workloads.Message
		}
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil {
			log.Fatal(err)
		}
		s := sets[l.Task]
		if s == nil {
			s = &workloads.Set{
				Name: l.Task,
				Description: fmt.Sprintf("%s; held-out prompts of the corpus generator that the embedded model was trained with: "+
					"names, numbers and texts are invented and new to it, the sentence frames are not", descriptions[l.Task]),
				Licence: "CC0-1.0",
			}
			sets[l.Task] = s
		}
		s.Prompts = append(s.Prompts, workloads.Prompt{ID: l.ID, Group: l.Group, Messages: l.Messages, MaxTokens: 128, Reference: l.Reference})
	}
	if err := sc.Err(); err != nil {
		log.Fatal(err)
	}
	for name, s := range sets {
		out, err := os.Create(filepath.Join(os.Args[2], name+".yaml"))
		if err != nil {
			log.Fatal(err)
		}
		if err := s.Write(out); err != nil {
			log.Fatal(err)
		}
		if err := out.Close(); err != nil {
			log.Fatal(err)
		}
	}
}
