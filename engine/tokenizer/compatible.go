package tokenizer

import "fmt"

// llama.cpp's limits for draft models (common/speculative.cpp).
const (
	maxSizeDifference = 128 // SPEC_VOCAB_MAX_SIZE_DIFFERENCE
	firstCompared     = 5   // SPEC_VOCAB_CHECK_START_TOKEN_ID: the first ids are often special tokens of other names
)

// Compatible says what keeps a model with the draft tokenizer from drafting
// for one with the target tokenizer: the models' token ids must mean the same text.
//
// The rule is llama.cpp's (same kind of vocabulary, same bos and eos and use of
// them, sizes at most 128 apart, same text from id 5 on), with one addition:
// the draft vocabulary may not be the larger one, since a draft could then hold
// a token that the target cannot score. Models of one family are padded to
// different sizes, larger ones for larger models, so this costs no usual pair.
// Output does not depend on any of it, only how much of a draft is accepted.
func Compatible(target, draft *Tokenizer) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("draft model's vocabulary does not fit: "+format, args...)
	}
	if target.model != draft.model {
		return fail("its model is %q, the target's %q", draft.model, target.model)
	}
	if target.addBOS != draft.addBOS || target.addBOS && target.bos != draft.bos {
		return fail("%s, the target's %s", adds("bos", draft.addBOS, int(draft.bos)), adds("bos", target.addBOS, int(target.bos)))
	}
	if target.addEOS != draft.addEOS || target.addEOS && target.eos != draft.eos {
		return fail("%s, the target's %s", adds("eos", draft.addEOS, int(draft.eos)), adds("eos", target.addEOS, int(target.eos)))
	}
	t, d := target.Size(), draft.Size()
	if d > t {
		return fail("it has %d tokens, more than the target's %d", d, t)
	}
	if t-d > maxSizeDifference {
		return fail("it has %d tokens, the target %d; at most %d apart", d, t, maxSizeDifference)
	}
	for i := firstCompared; i < d; i++ {
		if target.texts[i] != draft.texts[i] {
			return fail("token %d is %q, the target's %q", i, draft.texts[i], target.texts[i])
		}
	}
	return nil
}

func adds(name string, on bool, id int) string {
	if !on {
		return fmt.Sprintf("prompts get no %s token", name)
	}
	return fmt.Sprintf("prompts get %s token %d", name, id)
}
