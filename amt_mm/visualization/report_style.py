"""Style sheet of the report: light and dark, desktop and phone."""

STYLE = """
:root{
  color-scheme:light dark;
  --ground:#fbfbf9;--card:#fff;--ink:#1d1f24;--soft:#5d636f;--rule:#e2e3e0;--accent:#a2264f;
  --curve-0:#2563a8;--curve-1:#c2315c;--curve-2:#6b7280;
  --curve-3:#b06a00;--curve-4:#5a3aa0;--curve-5:#137a55}
@media(prefers-color-scheme:dark){:root{
  --ground:#14151a;--card:#1c1e25;--ink:#e9e9e6;--soft:#a0a5b1;--rule:#31343e;--accent:#ff8fae;
  --curve-0:#6cb0f5;--curve-1:#ff7d9d;--curve-2:#a9afbb;
  --curve-3:#f2b350;--curve-4:#b8a0f8;--curve-5:#5fd0a2}}
*{box-sizing:border-box}
body{
  margin:0;background:var(--ground);color:var(--ink);-webkit-text-size-adjust:100%;
  font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{max-width:68rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
header{max-width:44rem}
h1{
  font-size:clamp(1.6rem,1.2rem + 2vw,2.3rem);line-height:1.15;letter-spacing:-.02em;
  margin:0 0 1rem}
h1,h2,figcaption{text-wrap:balance}
h2{font-size:1.2rem;line-height:1.3;margin:0 0 1rem}
h3{font-size:.95rem;font-weight:600;margin:0 0 .5rem}
p{margin:0 0 .8rem}
section{margin-top:2.75rem}
figure{margin:0}
ul{list-style:none;margin:0;padding:0}
.note{color:var(--soft);font-size:.9rem;max-width:44rem;margin:.8rem 0 0}
.verdict{max-width:50rem;margin-bottom:1.2rem}
.verdict li{padding:.25rem 0 .25rem .9rem;border-left:3px solid var(--accent);margin-bottom:.35rem}
.swipe{display:none;color:var(--soft);font-size:.85rem;margin:.4rem 0 0}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--rule);border-radius:.6rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.6rem .9rem;text-align:right;white-space:nowrap}
th:first-child{text-align:left;position:sticky;left:0;background:var(--card)}
thead th{
  color:var(--soft);font-size:.82rem;font-weight:500;line-height:1.25;
  vertical-align:bottom;white-space:normal;min-width:5.2rem}
tbody th{font-weight:600}
.words td{white-space:normal;min-width:9rem}
tbody tr{border-top:1px solid var(--rule)}
.plots{
  display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,27rem),1fr))}
.plot{
  background:var(--card);border:1px solid var(--rule);border-radius:.6rem;
  padding:1rem;max-width:42rem}
.plot>figcaption{font-weight:600;font-size:.95rem}
.plot>svg{display:block;width:100%;height:auto}
.plot text{fill:var(--soft);font-size:13px;font-variant-numeric:tabular-nums}
.rule{stroke:var(--rule)}
.axis{stroke:var(--soft)}
.curve{fill:none;stroke-width:2;stroke-linejoin:round}
.keys{
  display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;font-size:.85rem;color:var(--soft);
  margin:.2rem 0 .5rem}
.keys li{display:flex;align-items:center;gap:.45rem}
.keys svg{width:28px;height:8px;flex:none}
.legend{
  display:flex;flex-wrap:wrap;gap:.6rem 1.6rem;font-size:.88rem;color:var(--soft);
  margin-bottom:1.25rem}
.legend li{display:flex;align-items:center;gap:.55rem}
.legend b{color:var(--ink);font-weight:600}
.legend img{width:2.1rem;height:2.1rem}
.ramp{width:5rem;height:1rem;border-radius:.2rem;border:1px solid var(--rule)}
article+article{margin-top:1.4rem}
.strip,.refreshes{display:grid;gap:.6rem;align-items:start}
.strip{grid-template-columns:repeat(var(--few,3),minmax(0,11rem))}
.refreshes{
  grid-column:1/-1;order:1;grid-template-columns:repeat(auto-fill,minmax(4.8rem,1fr))}
@media(min-width:46rem){
  .strip{grid-template-columns:repeat(var(--columns),minmax(0,11rem))}
  .refreshes{display:contents}}
.strip img,.legend img{display:block;border-radius:.25rem;border:1px solid var(--rule)}
.strip img{width:100%;height:auto}
.missing{
  display:grid;place-items:center;aspect-ratio:var(--ratio);color:var(--soft);
  border:1px dashed var(--rule);border-radius:.25rem}
.strip figcaption{
  font-size:.78rem;line-height:1.3;color:var(--soft);margin-top:.25rem;text-align:center}
h1,h3,.strip figcaption{overflow-wrap:anywhere}
.text{max-width:44rem}
.sheets{display:flex;flex-wrap:wrap;gap:1.4rem 2rem}
.sheets article{margin:0;max-width:100%}
.sheet{overflow-x:auto}
.sheet img{display:block;max-width:100%;height:auto;border-radius:.25rem}
.details{
  display:grid;grid-template-columns:minmax(6rem,max-content) minmax(0,1fr);gap:.4rem 1.25rem;
  margin:0;font-size:.92rem}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
summary{cursor:pointer;color:var(--accent)}
pre{
  overflow-x:auto;background:var(--card);border:1px solid var(--rule);border-radius:.6rem;
  padding:.8rem 1rem;margin:.5rem 0 0;
  font:.8rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
@media(max-width:34rem){
  .swipe{display:block}
  main{padding:1.5rem 1rem 3rem}
  th,td{padding:.5rem .65rem}
  tbody th{white-space:normal;min-width:7rem}
  .plot{padding:.8rem}
  .plot text{font-size:17px}
  .details{grid-template-columns:1fr;gap:.1rem}
  dd{margin-bottom:.6rem}}
""".strip()
