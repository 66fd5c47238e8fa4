"""Reports in Chinese first, English second: messages are Chinese, a language's .po file translates them."""

from __future__ import annotations

import gettext
import io
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Literal

from babel.core import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")
HTML_LANGUAGE: dict[Language, str] = {"zh": "zh-CN", "en": "en"}


def _(message: str) -> str:
    """Marks a message; it is translated where it is shown."""
    return message


VERDICTS = {"passed": _("通过"), "failed": _("未通过"), "void": _("无效"), "aborted": _("中止")}
CLAIMS = {"measured": _("本次实测"), "declared": _("另行声明"), "not_covered": _("未覆盖")}
MOMENTS = {
    "last-good-write": _("故障前最后一次成功写入"),
    "fault": _("故障注入"),
    "effect": _("故障生效"),
    "seen": _("被发现"),
    "alert": _("告警"),
    "first-good-write": _("首次成功写入"),
    "aborted": _("演练中止"),
    "undoing": _("开始恢复现场"),
    "undone": _("现场已恢复"),
    "not-undone": _("现场未能恢复"),
    "resumed": _("由后续运行接手恢复"),
    "not-settled": _("未在时限内恢复满额"),
    "full-strength": _("恢复满额"),
    "gone": _("视为原区域已失"),
    "serving": _("首个页面提供服务"),
    "taken-down": _("演练主机已拆除"),
    "later": _("客户端改用新区域"),
    "line-found": _("前置机找到新区域"),
}
LAYERS = {
    "journal": _("演练程序"),
    "workload": _("负载"),
    "probes": _("探测"),
    "router": _("数据库路由"),
    "member": _("数据库成员"),
    "alert": _("监控"),
}
"""Who noticed something (`evidence.observers.Layer`), and the drill's own records."""
FAULTS = {
    "process-killed": _("进程被强制终止"),
    "process-stopped": _("进程停止响应"),
    "host-frozen": _("主机冻结"),
    "host-lost": _("主机丢失"),
    "link-cut": _("网络链路切断"),
    "members-cut": _("成员之间网络切断"),
    "quorum-cut": _("多数派被切断"),
    "disk-full": _("磁盘写满"),
    "slow-disk": _("磁盘变慢"),
    "clock-moved": _("时钟偏移"),
    "memory-pressure": _("内存压力"),
    "certificate-expired": _("证书过期"),
    "dns-gone": _("域名解析失效"),
    "line-cut": _("专线切断"),
    "storage-refusing": _("对象存储拒绝服务"),
    "link-poor": _("链路劣化"),
}
"""Kinds of faults (`runbooks.drills.model`)."""


REASONS = {
    "no-fault": _("没有注入任何故障"),
    "not-busy": _("故障前一秒内没有已确认的写入"),
    "no-effect": _("故障“{fault}”没有生效"),
    "given-up": _("{reason}"),
    "clock-jumped": _("控制机的时钟跳变 {seconds} 秒，各层所见的先后无法确定"),
    "other-trouble": _("{subject} 也丢失了，而本次演练并未破坏它（{host}：{text}）"),
    "controller-died": _("控制程序没有运行到结束"),
    "evidence-short": _("负载共发出 {made} 个操作，记录中只有 {kept} 个"),
    "not-served": _("客户端没有重新得到服务"),
    "too-slow": _("{rto} 秒后恢复，目标为 {wanted} 秒"),
    "failed-requests": _("{count} 个请求失败，目标为 {wanted} 个"),
    "added-p99": _("p99 增加 {added} 秒，目标为 {wanted} 秒"),
    "violation": _("{fault}：{text}"),
    "not-undone": _("现场未恢复：{reason}"),
    "not-whole": _("演练后 {probe} 不成立：{text}"),
    "no-line": _("前置机没有找到接管的区域"),
    "no-source": _("没有读到可供恢复的来源"),
    "not-compared": _("没有比较：{what}"),
    "too-far-behind": _("异地副本落后 {seconds} 秒，目标为 {wanted} 秒"),
}
"""Why a drill did not pass, by the codes of `evidence.verdict.REASONS`."""
LIMITS = {
    "lab": _("单机实验环境：延迟与时间不代表云服务商的主机"),
    "provider": _("在云服务商的主机上，以当时状态为准"),
    "self-declared": _("时间由本机自述；报告旁若有时间戳，只证明报告当时已存在"),
    "no-linearizability": _("检查器不声明线性一致性或可串行化"),
    "silent": _("未能询问：{who}"),
}
"""What a report does not claim, by the codes of `compose.LIMITS`."""
OUTCOMES = {"ok": _("已确认"), "unknown": _("结果未知"), "fail": _("被拒绝")}


COMPARISONS = {
    "tables": _("数据库各表（逐行校验和，同一事务集合）"),
    "residents": _("居民档案（经平台页面）"),
    "attachments": _("附件（按哈希）"),
    "results": _("医院结果（前置机已收下的，各到达一次）"),
    "isolation": _("隔离（到不了原环境，写不了副本）"),
}
"""What a rehearsal compares (`rehearsal.COMPARED`)."""
PHASES = {
    "escrow": _("取回密钥与自身状态"),
    "bundle": _("取回安装包"),
    "machine": _("检查本机"),
    "programs": _("准备引擎"),
    "image": _("准备镜像"),
    "trust": _("证书与密钥"),
    "infrastructure": _("创建资源"),
    "realise": _("创建主机"),
    "reach": _("连接主机"),
    "survey": _("查看主机"),
    "foundation": _("基础配置"),
    "agent": _("备份代理"),
    "data": _("恢复数据库"),
    "compare": _("逐行比较"),
    "storage": _("挂载附件副本"),
    "platform": _("平台与入口"),
    "serving": _("等待首个页面"),
}
"""Phases of a rehearsal (`runbooks.recovery.way`)."""
CHECKER = {
    "unchecked": _("本页尚未核验。请粘贴出具方另行告知的公钥。"),
    "ask_key": _("公钥 "),
    "ask_files": _("可选：同时核对证据文件与前后报告 "),
    "go": _("核验"),
    "good": _("核验通过：第 {seq} 份报告，由密钥 {key}… 签署，本页所示与签署内容一致。"),
    "refused": _("拒绝："),
    "chain_good": _("第 {first} 至 {last} 份报告首尾相接。"),
    "chain_none": _("没有选择其他报告，链未核对。"),
    "evidence_good": _("证据 {file} 与哈希一致。"),
    "evidence_none": _("没有选择证据文件，证据未核对。"),
    "no_key": _("这不是公钥，应为 ed25519: 开头的一行。"),
    "form": _("签名信封不完整。"),
    "type": _("签署的是另一种文件。"),
    "key": _("不是由这把密钥签署的。"),
    "signature": _("签名与内容不符，内容被改动过。"),
    "pairing": _("页内的报告不是被封签的那一份。"),
    "page": _("页面所示与签署内容不一致，页面被改动过。"),
    "evidence": _("证据 {file} 与报告所列哈希不一致。"),
    "stranger": _("{file} 既不是本报告的证据，也不是报告。"),
    "fork": _("有两份第 {seq} 号报告。"),
    "gap": _("缺少第 {seq} 份报告。"),
    "link": _("第 {seq} 份报告与前一份不衔接。"),
}
"""What the page says when it checks itself (`templates/check.js`)."""


@cache
def catalogue(language: Language, name: str = "reports") -> Catalog:
    """The catalogue of a language as its .po file has it. `name`: of the file, without its ending."""
    folder = resources.files("runbooks.drills.reports").joinpath("locale", language, "LC_MESSAGES")
    text = io.BytesIO(folder.joinpath(f"{name}.po").read_bytes())
    return read_po(text, locale=Locale.parse(language), abort_invalid=True)


@cache
def translations(language: Language, name: str = "reports") -> gettext.NullTranslations:
    """Compiled when first asked for, so that no compiled file goes stale. Chinese needs none."""
    if language == "zh":
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    write_mo(compiled, catalogue(language, name))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
