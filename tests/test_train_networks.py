"""Networks, initialization and distillation against the paper, element by element."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from idsnn import ResNet, SpikingResNet, distillation_loss, initialize_from
from idsnn.config import TrainConfig
from idsnn.initialize import MATCHES
from idsnn.networks.protocol import SpikingNetwork, spiking
from idsnn.networks.table import NETWORKS, build_student, build_teacher
from idsnn.neuron import lif_step
from idsnn.rates import FiringRates, odd_layers
from idsnn_deploy.errors import RunError

DEPTHS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3]}


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_every_depth_stem_and_block_gives_logits(depth: int, stem: str) -> None:
    images = torch.randn(2, 1, 20, 12)
    assert ResNet(depth, 7, width=2, in_channels=1, stem=stem)(images).shape == (2, 7)
    for residual in ("spiking", "sew", "membrane"):
        network = SpikingResNet(depth, 7, width=2, in_channels=1, timesteps=2, residual=residual, stem=stem)
        assert network(images).shape == (2, 7)
        assert [len(getattr(network, f"layer{i}")) for i in (1, 2, 3, 4)] == DEPTHS[depth]


def test_torchvisions_weights_load_into_the_teacher() -> None:
    torchvision = pytest.importorskip("torchvision")
    theirs, ours = torchvision.models.resnet18().eval(), ResNet(18, 1000, stem="imagenet").eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images))
    with torch.device("meta"):
        theirs, ours = torchvision.models.resnet50(), ResNet(50, 1000, stem="imagenet")
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}


def stepped(network: SpikingResNet, frames: torch.Tensor) -> torch.Tensor:
    """The network's logits, one frame after the other, every neuron stepped by hand with its own state."""
    states: dict[nn.Module, torch.Tensor] = {}

    def neuron(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
        spikes, states[layer] = lif_step(x, states.get(layer, torch.zeros_like(x)), 0.25, 0.5)
        return spikes

    def block(module: nn.Module, x: torch.Tensor, sew: bool) -> torch.Tensor:
        branch = neuron(module.lif1, module.bn1(module.conv1(x)))
        branch = module.bn2(module.conv2(branch))
        shortcut = x
        if module.downsample is not None:
            shortcut = module.downsample[1](module.downsample[0](x))
            shortcut = neuron(module.downsample[2], shortcut) if sew else shortcut
        return neuron(module.lif2, branch) + shortcut if sew else neuron(module.lif2, branch + shortcut)

    def membrane_block(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        spikes = neuron(module.lif1, x)
        current = module.bn1(module.conv1(spikes))
        branch = module.bn2(module.conv2(neuron(module.lif2, current)))
        return branch + (x if module.downsample is None else module.downsample[1](module.downsample[0](spikes)))

    logits = []
    for frame in frames:
        x = network.bn1(network.conv1(frame))
        x = x if network.residual == "membrane" else neuron(network.lif1, x)
        for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
            for module in stage:
                x = membrane_block(module, x) if network.residual == "membrane" else block(module, x, sew=module.sew)
        x = neuron(network.lif, x) if network.residual == "membrane" else x
        logits.append(network.fc(x.mean((2, 3))))
    return torch.stack(logits)


def lively(network: SpikingResNet) -> SpikingResNet:
    """The network in eval mode with currents large enough to spike, in float64."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, -0.2, 0.6)
    return network.double().eval()


@pytest.mark.parametrize("residual", ["spiking", "sew", "membrane"])
def test_blocks_join_as_in_figure_1_or_never_leave_the_membrane(residual: str) -> None:
    torch.manual_seed(0)
    network = lively(SpikingResNet(18, 5, width=4, timesteps=3, residual=residual))
    images = 2 * torch.randn(2, 3, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        expected = stepped(network, images.expand(3, *images.shape))
        torch.testing.assert_close(network.step_logits(images), expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(network(images), expected.mean(0), rtol=0, atol=1e-12)
        assert expected.std(0).max() > 0  # the steps differ, or nothing was tested


def test_input_that_varies_in_time_goes_through_the_same_model() -> None:
    torch.manual_seed(0)
    network = lively(SpikingResNet(18, 5, width=4))
    frames = 2 * torch.randn(6, 2, 3, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(network.step_logits(frames), stepped(network, frames), rtol=0, atol=1e-12)
        static = frames[:1].expand(4, -1, -1, -1, -1)
        torch.testing.assert_close(network(static), network(frames[0]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("depth", [18, 50])
def test_a_current_passes_a_block_of_one_width_unchanged_where_its_branch_gives_nothing(depth: int) -> None:
    block = SpikingResNet(depth, 5, width=4, residual="membrane").eval().layer1[1]
    last = max(name for name, _ in block.named_children() if name.startswith("bn"))
    nn.init.zeros_(block.get_submodule(last).weight)
    current = torch.randn(2, 4 * block.expansion, 6, 6)
    before = current.clone()
    torch.testing.assert_close(block(current), before, rtol=0, atol=0)
    torch.testing.assert_close(current, before, rtol=0, atol=0)  # which the neuron has not written over


@pytest.mark.parametrize("depth", [18, 50])
def test_every_convolution_behind_the_stem_reads_spikes_where_shortcuts_are_currents(depth: int) -> None:
    network = lively(SpikingResNet(depth, 5, width=4, timesteps=3, residual="membrane"))
    read: list[torch.Tensor] = []
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)) and name != "conv1":
            place = network.pool if name == "fc" else module
            place.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].unique()))
    network(2 * torch.randn(2, 3, 16, 16, dtype=torch.float64))
    assert len(read) == {18: 16 + 3 + 1, 50: 48 + 4 + 1}[depth]
    assert all(set(values.tolist()) <= {0.0, 1.0} for values in read)
    assert sum(values.numel() == 2 for values in read) > len(read) // 2


def test_membrane_shortcuts_start_from_the_teachers_layers() -> None:
    teacher, student = ResNet(34, 5, width=4), SpikingResNet(18, 5, width=4, residual="membrane")
    initialize_from(teacher, student, scale=0.5)
    torch.testing.assert_close(student.layer3[1].conv2.weight, teacher.layer3[1].conv2.weight)
    torch.testing.assert_close(student.layer2[0].downsample[0].weight, teacher.layer2[0].downsample[0].weight)
    torch.testing.assert_close(student.layer1[1].bn1.weight, 0.5 * teacher.layer1[1].bn1.weight)


@pytest.mark.parametrize("residual", ["spiking", "sew", "membrane"])
def test_one_step_from_rest_is_the_first_step(residual: str) -> None:
    network = SpikingResNet(18, 5, width=4, residual=residual).eval()
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(network.forward_step(images), network.step_logits(images)[0])


def test_the_imagenet_stem_pools_before_the_first_neuron() -> None:
    network = SpikingResNet(18, 5, width=4, stem="imagenet")
    seen: list[torch.Tensor] = []
    network.layer1.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    network(torch.randn(2, 3, 32, 32))
    assert seen[0].shape[-2:] == (8, 8)
    assert set(seen[0].unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize(("teacher", "student"), [(34, 18), (18, 34), (18, 18), (50, 101), (101, 50)])
@pytest.mark.parametrize("match", MATCHES)
def test_blocks_correspond_within_a_stage(teacher: int, student: int, match: str) -> None:
    def expected(j: int, n: int, count: int) -> int:
        if match == "leading":
            return min(j, count - 1)
        return 0 if n == 1 else math.floor(j * (count - 1) / (n - 1) + 0.5)

    ann, snn = ResNet(teacher, 3, width=1), SpikingResNet(student, 3, width=1)
    for number, (stage, count) in enumerate(
        zip(("layer1", "layer2", "layer3", "layer4"), DEPTHS[teacher], strict=True)
    ):
        for j in range(count):  # each block says which one it is
            nn.init.constant_(getattr(ann, stage)[j].conv2.weight, 100.0 * number + j)
    initialize_from(ann, snn, match)
    for number, (stage, count) in enumerate(
        zip(("layer1", "layer2", "layer3", "layer4"), DEPTHS[student], strict=True)
    ):
        for j in range(count):
            source = expected(j, count, DEPTHS[teacher][number])
            assert (getattr(snn, stage)[j].conv2.weight == 100 * number + source).all()


@pytest.mark.parametrize(("theirs", "ours"), [(4, 8), (8, 4), (4, 6), (6, 4), (5, 5)])
def test_channels_repeat_in_a_loop_element_by_element(theirs: int, ours: int) -> None:
    torch.manual_seed(0)
    ann, snn = ResNet(18, 3, width=theirs), SpikingResNet(18, 3, width=ours)
    for module in ann.modules():
        if isinstance(module, nn.BatchNorm2d):
            for each in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(each)
    head = snn.fc.weight.clone()
    initialize_from(ann, snn)
    for name in ("conv1", "layer1.1.conv2", "layer3.0.conv1", "layer2.0.downsample.0"):
        source, target = ann.get_submodule(name).weight, snn.get_submodule(name).weight
        for o in range(target.shape[0]):
            for i in range(target.shape[1]):
                assert torch.equal(target[o, i], source[o % source.shape[0], i % source.shape[1]])
    for name in ("bn1", "layer1.1.bn2", "layer4.0.downsample.1"):
        source, target = ann.get_submodule(name), snn.get_submodule(name)
        for key in ("weight", "bias", "running_mean", "running_var"):
            for o in range(len(target.weight)):
                assert getattr(target, key)[o] == getattr(source, key)[o % len(source.weight)]
    assert torch.equal(snn.fc.weight, head)


def test_a_scaled_start_scales_what_batch_normalization_gives_and_nothing_else() -> None:
    torch.manual_seed(0)
    ann = ResNet(18, 3, width=2)
    for module in ann.modules():
        if isinstance(module, nn.BatchNorm2d):
            for each in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(each)
    plain, scaled = initialize_from(ann, SpikingResNet(18, 3, width=2)), SpikingResNet(18, 3, width=2)
    initialize_from(ann, scaled, scale=0.5)
    x = torch.randn(2, 2, 4, 4)
    torch.testing.assert_close(scaled.bn1.eval()(x), 0.5 * plain.bn1.eval()(x))
    assert torch.equal(scaled.layer1[0].conv1.weight, plain.layer1[0].conv1.weight)
    assert torch.equal(scaled.bn1.running_var, plain.bn1.running_var)


def test_shortcuts_can_be_left_as_they_are() -> None:
    ann, snn = ResNet(18, 3, width=2), SpikingResNet(18, 3, width=2)
    before = snn.layer2[0].downsample[0].weight.clone()
    assert torch.equal(initialize_from(ann, snn, shortcuts=False).layer2[0].downsample[0].weight, before)
    assert not torch.equal(initialize_from(ann, snn).layer2[0].downsample[0].weight, before)


def test_basic_and_bottleneck_blocks_are_an_error_that_changes_nothing() -> None:
    ann, snn = ResNet(34, 3, width=2), SpikingResNet(50, 3, width=2)
    before = snn.conv1.weight.clone()
    with pytest.raises(RunError, match=r"layer1\.0\.conv1 \[2, 2, 1, 1\] cannot start .* \[2, 2, 3, 3\]"):
        initialize_from(ann, snn)
    assert torch.equal(snn.conv1.weight, before)


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_network_without_stages_cannot_be_initialized_and_is_told_what_it_lacks(role: str) -> None:
    plain, ann, snn = nn.Sequential(nn.Conv2d(3, 4, 3)), ResNet(18, 3, width=2), SpikingResNet(18, 3, width=2)
    with pytest.raises(RunError, match=rf"the {role} Sequential has none: give it `stages = .* or take --arm kd"):
        initialize_from(*((plain, snn) if role == "teacher" else (ann, plain)))


def test_a_teacher_without_the_students_stage_is_named() -> None:
    ann, snn = ResNet(18, 3, width=2), SpikingResNet(18, 3, width=2)
    ann.stages = ("conv1", "layer1")
    with pytest.raises(RunError, match=r"^bn1 has nothing to start from: the teacher's stages are conv1, layer1$"):
        initialize_from(ann, snn)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_architecture_of_the_table_keeps_the_protocol_and_starts_from_its_teacher(name: str) -> None:
    row = NETWORKS[name]
    depths = {"depth": row.student_depth, "teacher_depth": row.teacher_depth}
    settings = {**vars(TrainConfig(network=name, width=2)), **depths, "input_shape": [3, 32, 32], "labels": ["a", "b"]}
    student, teacher = build_student(settings), build_teacher(settings)
    network = spiking(student)
    x = torch.rand(2, 3, 32, 32)
    assert network.step_logits(x).shape == (network.timesteps, 2, 2)
    assert teacher(x).shape == (2, 2)
    assert len(dict(network.neurons())) > 3
    before = {key: value.clone() for key, value in student.state_dict().items()}
    initialize_from(teacher, student)
    assert any(not torch.equal(before[key], value) for key, value in student.state_dict().items())


def test_what_the_trainer_needs_of_a_network_is_written_down() -> None:
    assert isinstance(SpikingResNet(18, 3, width=2), SpikingNetwork)
    assert not isinstance(ResNet(18, 3, width=2), SpikingNetwork)
    with pytest.raises(RunError, match="ResNet: is no spiking network, it has no timesteps, step_logits"):
        spiking(ResNet(18, 3, width=2))


def test_batch_normalization_starts_at_theta() -> None:
    snn = SpikingResNet(18, 3, width=2, threshold=0.7)
    assert all((m.weight == 0.7).all() for m in snn.modules() if isinstance(m, nn.BatchNorm2d))


def test_the_distillation_loss_by_hand() -> None:
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[4.0 * math.log(3), 0.0]])
    # tau 4: p_t = (3/4, 1/4), p_s = (1/2, 1/2); KL = 3/4 ln(3/2) + 1/4 ln(1/2); CE = ln 2.
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    found = distillation_loss(student, teacher, torch.tensor([0]), alpha=0.3, temperature=4.0)
    assert found.item() == pytest.approx(math.log(2) + 0.3 * 16 * divergence, abs=1e-6)


def test_the_loss_of_all_steps_is_the_mean_of_their_losses() -> None:
    torch.manual_seed(0)
    steps, teacher, labels = torch.randn(3, 5, 4), torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 0])
    for soft in (teacher, None):
        each = [distillation_loss(z, soft, labels, 0.3, 4.0) for z in steps]
        torch.testing.assert_close(distillation_loss(steps, soft, labels, 0.3, 4.0), torch.stack(each).mean())


def test_the_teacher_learns_nothing_from_the_student() -> None:
    student, teacher = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    distillation_loss(student, teacher, torch.tensor([0, 1])).backward()
    assert teacher.grad is None
    assert student.grad is not None


def test_firing_rates_are_spikes_over_neurons_and_steps() -> None:
    torch.manual_seed(0)
    network = SpikingResNet(18, 5, width=4)
    spikes: dict[str, torch.Tensor] = {}
    for name, layer in network.neurons().items():
        layer.register_forward_hook(lambda _m, _i, out, name=name: spikes.update({name: out.detach().clone()}))
    with FiringRates(network) as rates:
        network(torch.randn(2, 3, 8, 8))
    for name, rate in rates.by_layer().items():
        assert rate == pytest.approx(spikes[name].mean().item(), abs=1e-6)
    total = sum(each.sum().item() for each in spikes.values()) / sum(each.numel() for each in spikes.values())
    assert rates.total().item() == pytest.approx(total, abs=1e-6)
    network(torch.zeros(1, 3, 8, 8))  # outside the block nothing is counted
    assert rates.total().item() == pytest.approx(total, abs=1e-6)


def test_dead_and_saturated_layers_are_told_apart() -> None:
    rates = {"a": 0.00099, "b": 0.00101, "c": 0.899, "d": 0.901}
    assert odd_layers(rates) == {"a": "dead", "d": "saturated"}
