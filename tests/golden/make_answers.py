"""Makes the golden models tasks/mt-dnn-*: BERT with the answer networks of MT-DNN (Liu et al.,
arXiv:1804.07888, arXiv:1901.11504), in checkpoints as its programs write them, and the scores that they
give. The networks are written here from the paper and from what the programs do
(https://github.com/namisan/mt-dnn, module/san.py); on random weights they gave the numbers of those
programs. Needs torch and transformers; tests do not run it.

    python make_answers.py
"""

import enum
import json
import sys
import types

import torch
from transformers import BertConfig, BertModel

from make_tasks import BERT, TEXTS, fill, fresh, rounded, word_piece, write

PAIRS = [[TEXTS[0], TEXTS[1]], [TEXTS[1], TEXTS[2]], [TEXTS[4], "a"]]
# What the programs were started with when they made the published checkpoints.
PUBLISHED = {"answer_num_turn": 5, "answer_att_type": "bilinear", "answer_rnn_type": "gru",
             "answer_merge_opt": 1, "answer_mem_type": 1, "answer_weight_norm_on": False,
             "mem_cum_type": "simple"}


def named(module, name, base, **members):
    """A class of the programs' under its own name, as checkpoints of 2020 and later mention it."""
    made = enum.IntEnum(name, members) if base is enum.IntEnum else type(name, (base,), members)
    made.__module__, made.__qualname__ = module, name
    for i in range(1, module.count(".") + 2):
        part = ".".join(module.split(".")[:i])
        sys.modules.setdefault(part, types.ModuleType(part))
    setattr(sys.modules[module], name, made)
    return made


def newer():
    """What these checkpoints say of their tasks."""
    task_def = named("experiments.exp_def", "TaskDef", dict)(n_class="2", enable_san="True")
    kind = named("data_utils.task_def", "TaskType", enum.IntEnum, Classification=1, Regression=2)
    loss = named("mt_dnn.loss", "LossCriterion", enum.IntEnum, CeCriterion=0)
    labels = named("data_utils.vocab", "Vocabulary", object)()
    labels.names = {"yes": 0, "no": 1}
    task_def.__dict__ |= {"n_class": 2, "task_type": kind.Classification, "loss": loss.CeCriterion,
                          "label_vocab": labels, "enable_san": True}
    return {"encoder_type": 1, "task_def_list": [task_def]}


class Answers(torch.nn.Module):
    """Scores of two texts, whose states are `first` and `second` [tokens, width]. Names of parameters
    are those of the checkpoints."""

    def __init__(self, width, labels, settings):
        super().__init__()
        self.settings = settings
        parts = {"bilinear": width, "simple": 2 * width, "flatsim": 3 * width}[settings["answer_att_type"]]
        rows = width if settings["answer_att_type"] == "bilinear" else 1
        sides = 4 if settings["answer_merge_opt"] else 2
        self.alpha = torch.nn.Parameter(torch.zeros(1, 1), requires_grad=False)
        self.query_wsum = torch.nn.ModuleDict({"att": torch.nn.ModuleDict({"linear": torch.nn.Linear(width, 1)})})
        self.attn = torch.nn.ModuleDict({"score_func": torch.nn.ModuleDict({"linear": torch.nn.Linear(parts, rows)})})
        self.rnn = torch.nn.GRUCell(width, width)
        self.classifier = torch.nn.ModuleDict({"proj": torch.nn.Linear(sides * width, labels)})

    def similarity(self, tokens, state):
        layer = self.attn["score_func"]["linear"]
        if self.settings["answer_att_type"] == "bilinear":
            return tokens @ layer(state)
        states = state.expand_as(tokens)
        both = [tokens, states] + ([tokens * states] if self.settings["answer_att_type"] == "flatsim" else [])
        return layer(torch.cat(both, 1))[:, 0]

    def forward(self, first, second):
        # The programs of 2019 put the hypothesis first, those that list their tasks second.
        premise, hypothesis = (first, second) if "task_def_list" in self.settings else (second, first)
        weights = torch.softmax(self.query_wsum["att"]["linear"](hypothesis)[:, 0], 0)
        state, turns = weights @ hypothesis, []
        for _ in range(self.settings["answer_num_turn"]):
            seen = torch.softmax(self.similarity(premise, state), 0) @ premise
            sides = [seen, state] + ([(seen - state).abs(), seen * state] if self.settings["answer_merge_opt"] else [])
            turns.append(self.classifier["proj"](torch.cat(sides)))
            state = self.rnn(seen[None], state[None])[0]
        if not self.settings["answer_mem_type"]:
            return turns[-1]
        return torch.softmax(torch.stack(turns), 1).mean(0).log()


def make(name, seed, tasks, saved, others=()):
    """One folder. `tasks`: names with their number of labels, or with a layer; `others`: settings that
    differ from the saved ones."""
    folder = fresh(name)
    tokenizer = word_piece(folder)
    config = BertConfig(**BERT)
    body = fill(BertModel(config), seed)
    heads = torch.nn.ModuleList([it if isinstance(it, torch.nn.Module) else Answers(32, it, saved)
                                 for it in tasks.values()])
    fill(heads, seed + 1)
    state = {f"bert.{key}": it for key, it in body.state_dict().items()}
    state |= {f"scoring_list.{key}": it for key, it in heads.state_dict().items()}
    torch.save({"state": state, "config": {"hidden_size": 32, "label_size": "3,1", **saved}}, folder / "mt_dnn.pt")
    params = {key: {} for key in tasks}
    if "stsb" in params:
        params["stsb"] = {"problem_type": "regression"}
    (folder / "config.json").write_text(json.dumps(config.to_dict() | {"task_specific_params": params}, indent=1) + "\n")
    cases = []
    for settings in ({}, *others):
        for pair in PAIRS:
            inputs, scores = tokenizer(*pair, return_tensors="pt"), {}
            with torch.no_grad():
                found = body(**inputs)
                states, second = found.last_hidden_state[0], inputs.token_type_ids[0] == 1
                for key, head in zip(tasks, heads):
                    if isinstance(head, Answers):
                        head.settings = saved | settings
                        scores[key] = rounded(head(states[~second], states[second]).tolist())
                    else:
                        scores[key] = rounded(head(found.pooler_output)[0].tolist())
            cases.append({"settings": settings, "input": pair, "scores": scores})
    write(folder, {"cases": cases})


if __name__ == "__main__":
    make("mt-dnn-answers", 41, {"sst": torch.nn.Linear(32, 2), "mnli": 3, "stsb": 1, "qnli": 1}, PUBLISHED,
         [{"answer_mem_type": 0, "answer_num_turn": 3}, {"answer_mem_type": 0, "task_def_list": []}])
    for kind, seed, more in [("simple", 43, {}), ("flatsim", 45, newer())]:
        make(f"mt-dnn-{kind}", seed, {"rte": 2},
             {**PUBLISHED, **more, "answer_att_type": kind, "answer_merge_opt": 0, "answer_num_turn": 2})
