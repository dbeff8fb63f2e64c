"""Models as people write them, small: what from_module is tried on."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune


class BasicBlock(nn.Module):
    """Residual block whose only ReLU works in place and is used twice."""

    def __init__(self, c_in, c_out, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out)
        self.conv2, self.bn2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False), nn.BatchNorm2d(c_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x):
        short = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += short
        return self.relu(y)


class ResNet(nn.Module):
    def __init__(self, widths=(3, 4), blocks=1, classes=3, eps=1e-5):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0], eps=eps)
        self.relu = nn.ReLU(inplace=True)
        c = widths[0]
        for stage, width in enumerate(widths, start=1):
            units = [BasicBlock(c if not i else width, width, 1 if i or stage == 1 else 2) for i in range(blocks)]
            setattr(self, f"res{stage}", nn.Sequential(*units))
            c = width
        self.stages = [f"res{stage + 1}" for stage in range(len(widths))]
        self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, classes))

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        for stage in self.stages:
            x = getattr(self, stage)(x)
        return self.classifier(x)


class SqueezeExcite(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, 2, 1), nn.Conv2d(2, channels, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.up(F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))))


class Inverted(nn.Module):
    """Depthwise block of a MobileNet, with a skip where the shape stays."""

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.skip = stride == 1 and c_in == c_out
        self.conv = nn.Sequential(
            nn.Conv2d(c_in, 6, 1, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU6(inplace=True),
            nn.Conv2d(6, 6, 3, stride, 1, groups=6, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU6(inplace=True),
            nn.Conv2d(6, c_out, 1, bias=False),
            nn.BatchNorm2d(c_out),
        )

    def forward(self, x):
        return x + self.conv(x) if self.skip else self.conv(x)


class MobileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), Inverted(4, 4, 1), Inverted(4, 5, 2))
        self.excite, self.read = SqueezeExcite(5), nn.Linear(5, 3)

    def forward(self, x):
        return self.read(self.excite(self.features(x)).mean([2, 3]))


class UNet(nn.Module):
    """Skip from before the halving to after the doubling, by concatenation."""

    def __init__(self):
        super().__init__()
        self.enter, self.down = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, 2, 1)
        self.up, self.merge = nn.ConvTranspose2d(5, 4, 2, 2), nn.Conv2d(8, 4, 3, padding=1)
        self.read = nn.Linear(4, 3)

    def forward(self, x):
        a = F.relu(self.enter(x))
        b = self.up(F.relu(self.down(a)))
        return self.read(F.relu(self.merge(torch.cat([b, a], 1))).mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, width, heads=2, context=8):
        super().__init__()
        self.heads = heads
        self.qkv, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.register_buffer("mask", torch.tril(torch.ones(context, context)))

    def forward(self, x):
        b, s, d = x.size()
        q, k, v = (t.view(b, s, self.heads, d // self.heads).transpose(1, 2) for t in self.qkv(x).split(d, dim=2))
        scores = q @ k.transpose(-2, -1) / k.size(-1) ** 0.5
        scores = scores.masked_fill(self.mask[:s, :s] == 0, float("-inf"))
        return self.merge((scores.softmax(-1) @ v).transpose(1, 2).contiguous().view(b, s, d))


class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        x = x + self.attention(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class GPT(nn.Module):
    """Embedding and readout share their weight, as in GPT-2."""

    def __init__(self, tied=True, vocabulary=7, context=8, width=4):
        super().__init__()
        self.context = context
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.h = nn.ModuleList([Layer(width), Layer(width)])
        self.ln_f, self.lm_head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        if tied:
            self.lm_head.weight = self.wte.weight

    def forward(self, ids, targets=None):
        _, s = ids.size()
        assert s <= self.context
        x = self.wte(ids) + self.wpe(torch.arange(0, s, device=ids.device))
        for layer in self.h:
            x = layer(x)
        return self.lm_head(self.ln_f(x))


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 4, 4, 4)
        self.token, self.position = nn.Parameter(torch.randn(1, 1, 4)), nn.Parameter(torch.randn(1, 5, 4))
        layer = nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.read = nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.read(self.norm(self.encoder(x))[:, 0])


class LSTMClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.read = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        start = torch.zeros(1, x.size(0), 4, dtype=x.dtype).to(x.device)
        y, (_, _) = self.lstm(x, (start, start))
        return self.read(y[:, -1])


class FrozenBackbone(nn.Module):
    """A backbone without gradients, which its model keeps in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.hidden, self.read = nn.Linear(4, 5), nn.Linear(5, 3)
        self.backbone.requires_grad_(False)
        nn.init.normal_(self.backbone[1].running_mean)

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x):
        with torch.no_grad():
            x = self.backbone(x)
        return self.read(self.hidden(x).tanh())


class Branching(nn.Module):
    """A Python ``if`` on numbers, which no trace can follow."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        if x.mean() > 0:
            return self.up(x)
        return self.down(x) - 1


class ModeDependent(nn.Module):
    """A forward that asks for its mode."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x):
        y = self.inner(x)
        return 2 * y if self.training else y


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        x = torch.relu_(self.a(x))
        y = self.b(x)
        y.mul_(2)
        y += x
        y.tanh_()
        return self.c(y)


def pruned_and_normed():
    model = nn.Sequential(
        nn.Linear(4, 5), nn.ReLU(), parametrizations.weight_norm(nn.Linear(5, 5)), nn.Tanh(), nn.Linear(5, 3)
    )
    prune.random_unstructured(model[0], "weight", 0.5)
    return model


IMAGE, VECTOR, SERIES = (3, 8, 8), (4,), (5, 3)
MODELS = {
    "resnet": (ResNet, IMAGE),
    "mobilenet": (MobileNet, IMAGE),
    "unet": (UNet, IMAGE),
    "vit": (ViT, IMAGE),
    "gpt": (GPT, None),
    "gpt of its own readout": (lambda: GPT(tied=False), None),
    "lstm": (LSTMClassifier, SERIES),
    "frozen backbone": (FrozenBackbone, IMAGE),
    "pruned and normed": (pruned_and_normed, VECTOR),
    "in place": (InPlace, VECTOR),
    "branching": (lambda: nn.Sequential(Branching(), nn.ReLU(), nn.Linear(4, 3)), VECTOR),
    "mode": (lambda: nn.Sequential(ModeDependent(), nn.ReLU(), nn.Linear(4, 3)), VECTOR),
}
"""Makers of models, with the shape of a sample; None: ids of tokens."""
