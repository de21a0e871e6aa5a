from omegaconf import OmegaConf

from diptych.sweeping.run_words import run_words


def test_a_folder_that_a_pipeline_wants_to_be_told_is_that_of_the_run(tmp_path):
    wanted = OmegaConf.create({"out": "???", "work_dir": "${out}/work", "pairs": "a.jsonl"})
    words = run_words("pipeline", wanted, ["pipeline=annotate_triplets"], tmp_path)
    assert words == [
        "pipeline=annotate_triplets",
        f"out={tmp_path}",
        f"hydra.run.dir={tmp_path}",
        "hydra.output_subdir=null",
    ]


def test_a_file_that_a_pipeline_wants_to_be_told_lies_in_the_folder_of_the_run(tmp_path):
    wanted = OmegaConf.create({"output": "???", "work_dir": "runs/x"})
    assert f"output={tmp_path}/output" in run_words("pipeline", wanted, [], tmp_path)
